"""TOFU (Maini et al., 2024) as a test set: fictitious authors, twenty questions each."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from guards.scope import Example, Kind, Source
from offline.evaluation.dataset import DataSet, digest, read_rows
from offline.evaluation.errors import DataError
from offline.evaluation.ordinary import ordinary_prompts
from offline.evaluation.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

VARIABLE = "UNREMEMBER_TOFU_DIR"
RETAIN = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
QUESTIONS = 20
"""Rows of each author, one author after the other."""

_PART = r"(?:[A-ZÀ-Þ][\w’-]*\w|[A-ZÀ-Þ]\.?)"
_NAME = re.compile(rf"\b{_PART}(?:\s+(?:(?:al|bin|ibn|de|del|da|van|von|der)[\s-])?{_PART})+")
_STRIPPED = re.compile(r"(?:['’]s?|\.)$")


def load(split: str) -> DataSet:
    """``forget01``, ``forget05`` or ``forget10``: one request for each author.

    Positives are the paraphrased questions, near neighbours the questions about all other authors, background
    those about real authors and the world, and ordinary prompts.

    Raises:
        DataError: no such split, or the directory in ``UNREMEMBER_TOFU_DIR`` does not hold it.
    """
    if split not in RETAIN:
        raise DataError(f"TOFU has no split {split!r}; there are {', '.join(RETAIN)}.")
    given = os.environ.get(VARIABLE)
    if not given:
        raise DataError(f"Name the directory with TOFU's JSON lines (forget01.jsonl, …) in {VARIABLE}.")
    names = {
        part: f"{file}.jsonl"
        for part, file in {
            "forget": split,
            "positives": f"{split}_perturbed",
            "near": RETAIN[split],
            "authors": "real_authors",
            "facts": "world_facts",
        }.items()
    }
    paths = {part: Path(given).expanduser() / name for part, name in names.items()}
    rows = {part: read_rows(path) for part, path in paths.items()}
    requests = tuple(
        _request(rows["forget"][start : start + QUESTIONS]) for start in range(0, len(rows["forget"]), QUESTIONS)
    )
    background = [row["question"] for row in (*rows["authors"], *rows["facts"])]
    return DataSet(
        name=f"tofu:{split}",
        requests=requests,
        positives=tuple(
            Prompt((row["paraphrased_question"],), requests[place // QUESTIONS].subject, row["paraphrased_answer"])
            for place, row in enumerate(rows["positives"])
        ),
        near=tuple(Prompt((row["question"],), answer=row["answer"]) for row in rows["near"]),
        background=tuple(Prompt((text,)) for text in (*background, *ordinary_prompts())),
        digests={path.name: digest(path) for path in paths.values()},
        notes=(
            f"Positives: {split}'s paraphrased questions. Near: the questions of {RETAIN[split]}, alike in form, about "
            "other invented authors. Unrelated: real authors, world facts, and ordinary prompts.",
        ),
    )


def _request(rows: Sequence[dict[str, Any]]) -> Source:
    examples = tuple(Example(row["question"], row["answer"]) for row in rows)
    return Source(author(examples), Kind.PERSON, examples=examples)


def author(examples: Sequence[Example]) -> str:
    """The name that occurs in most of an author's rows; of equally frequent ones the longest.

    A name that is part of a longer one counts where that stands too: what somebody is called in full is the
    longest name that is nearly as frequent as its parts.
    """
    found = [_names(f"{example.prompt} {example.response}") for example in examples]
    counts = Counter(name for names in found for name in names)
    most = max(counts.values(), default=0)
    if not most:
        raise DataError("a block of questions names nobody")
    return max((name for name, count in counts.items() if count == most), key=len)


def _names(text: str) -> set[str]:
    return {_STRIPPED.sub("", match) for match in _NAME.findall(text)}
