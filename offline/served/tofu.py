"""TOFU on a served system (Maini et al., 2024): forget quality, model utility, and what it still tells."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from offline.evaluation.dataset import digest, read_rows
from offline.evaluation.errors import DataError
from offline.evaluation.tofu import VARIABLE
from offline.metrics.overlap import rouge_l
from offline.metrics.tofu import option_probability, probability, truth, truth_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from offline.served.answerer import Answerer

ANSWER_TOKENS: Final = 64
"""Of a generated answer: TOFU's own are shorter than that but for a few."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its answer, the same in other words, and wrong ones."""

    question: str
    answer: str
    paraphrased_question: str
    paraphrased_answer: str
    perturbed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tofu:
    """What a system is asked."""

    forget: tuple[Question, ...]
    retain: tuple[Question, ...]
    real_authors: tuple[Question, ...]
    world_facts: tuple[Question, ...]
    digests: Mapping[str, str]
    """SHA-256, hexadecimal, of each file."""

    @property
    def size(self) -> int:
        """How many questions there are."""
        return len(self.forget) + len(self.retain) + len(self.real_authors) + len(self.world_facts)


def load(split: str, *, forget: slice, retain: int, others: int | None = None) -> Tofu:
    """``forget01``, ``forget05`` or ``forget10``: the rows ``forget`` of it, and the first so many of the rest.

    The retain questions are those of ``retain_perturbed``.

    Raises:
        DataError: the directory in ``UNREMEMBER_TOFU_DIR`` does not hold it.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        raise DataError(f"Name the directory with TOFU's JSON lines (forget01.jsonl, …) in {VARIABLE}.")
    paths = {
        part: Path(given).expanduser() / f"{name}_perturbed.jsonl"
        for part, name in {
            "forget": split,
            "retain": "retain",
            "real_authors": "real_authors",
            "world_facts": "world_facts",
        }.items()
    }
    rows = {part: [_question(row, path) for row in read_rows(path)] for part, path in paths.items()}
    return Tofu(
        tuple(rows["forget"][forget]),
        tuple(rows["retain"][:retain]),
        tuple(rows["real_authors"][:others]),
        tuple(rows["world_facts"][:others]),
        {path.name: digest(path) for path in paths.values()},
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one system. None: teacher-forced figures do not show what it does."""

    truth_ratios: tuple[float, ...] | None
    """On the forget set, in its order."""
    forget_probability: float | None
    forget_rouge: tuple[float, ...]
    """ROUGE-L recall of what it says to each paraphrased forget question."""
    parts: Mapping[str, float] | None
    """Of model utility, by their names in `offline.metrics.tofu`."""
    answers: tuple[str, ...]
    """What it says to the paraphrased forget questions."""


async def measure(system: Answerer, data: Tofu, progress: Callable[[int], None]) -> Measured:
    """Ask a system everything; ``progress`` is told how many questions more are done. Raises DataError."""
    forget = await _asked(system, data.forget, progress, paraphrased=True)
    parts: dict[str, float] | None = {}
    for name in ("retain", "real_authors", "world_facts"):
        found = _utility(name, await _asked(system, getattr(data, name), progress))
        parts = None if parts is None or found is None else parts | found
    scored = [one.scored for one in forget if one.scored is not None]
    defined = len(scored) == len(forget) > 0
    return Measured(
        truth_ratios=tuple(one.truth_ratio for one in scored) if defined else None,
        forget_probability=fmean(one.probability for one in scored) if defined else None,
        forget_rouge=tuple(one.rouge for one in forget),
        parts=parts,
        answers=tuple(one.said for one in forget),
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    probability: float
    among_options: float
    truth_ratio: float


@dataclass(frozen=True, slots=True)
class _Answered:
    said: str
    rouge: float
    """ROUGE-L recall of the true answer."""
    scored: _Scored | None


async def _asked(
    system: Answerer, questions: Sequence[Question], progress: Callable[[int], None], *, paraphrased: bool = False
) -> list[_Answered]:
    """The answers to a set's questions, or to their paraphrases; scores are always of the questions themselves."""

    async def ask(one: Question) -> _Answered:
        said, scored = await asyncio.gather(
            system.answer(_turn(one.paraphrased_question if paraphrased else one.question), tokens=ANSWER_TOKENS),
            _score(system, one),
        )
        progress(1)
        return _Answered(said, rouge_l(one.answer, said).recall, scored)

    return list(await asyncio.gather(*map(ask, questions)))


async def _score(system: Answerer, one: Question) -> _Scored | None:
    scores = await system.score(_turn(one.question), [one.answer, one.paraphrased_answer, *one.perturbed])
    if scores is None:
        return None
    answer, paraphrased, *perturbed = (found.log_probs for found in scores)
    return _Scored(probability(answer), option_probability(answer, perturbed), truth_ratio(paraphrased, perturbed))


def _utility(name: str, answered: Sequence[_Answered]) -> dict[str, float] | None:
    """The three parts of a data set; None where there is nothing to tell them by."""
    scored = [one.scored for one in answered if one.scored is not None]
    if not answered or len(scored) < len(answered):
        return None
    return {
        f"{name}_probability": fmean(one.probability if name == "retain" else one.among_options for one in scored),
        f"{name}_rouge": fmean(one.rouge for one in answered),
        f"{name}_truth": truth([one.truth_ratio for one in scored]),
    }


def _turn(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _question(row: Mapping[str, Any], path: Path) -> Question:
    try:
        return Question(
            row["question"],
            row["answer"],
            row.get("paraphrased_question") or row["question"],
            # Real authors and world facts have none: there the answer itself is compared with (TOFU's own code).
            row.get("paraphrased_answer") or row["answer"],
            tuple(row["perturbed_answer"]),
        )
    except (KeyError, TypeError):
        raise DataError(f"{path} has a row that is not one of TOFU's.") from None
