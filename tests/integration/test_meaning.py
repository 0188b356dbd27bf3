"""Sentences that say it in other words, judged with the real encoder on answers that TOFU reworded."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guards.scope import Example, Kind, Source
from guards.watch.meaning import Meaning
from offline.evaluation.guard import Rates, compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.detect.batching import EncoderQueue
    from guards.detect.calibration import Calibration
    from guards.watch.meaning import Judge

TOFU = os.environ.get("UNREMEMBER_TOFU_DIR")
pytestmark = pytest.mark.skipif(TOFU is None, reason="UNREMEMBER_TOFU_DIR does not name a directory with TOFU")
# The first of forget10, twenty rows each.
AUTHORS = ("Hsiao Yun-Hwa", "Carmen Montenegro", "Elvin Mammadov", "Rajeev Majumdar", "Jad Ambrose Al-Shamary")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(str(TOFU)) / f"{name}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
async def judges(queue: EncoderQueue, calibration: Calibration) -> dict[str, Judge]:
    """One for the answers to prompts that come near each author."""
    meaning = Meaning(queue, calibration.background.vectors, alpha=0.001, confidence=0.95)
    known = rows("forget10")
    for place, author in enumerate(AUTHORS):
        examples = [Example(row["question"], row["answer"]) for row in known[20 * place : 20 * place + 20]]
        source = Source(author, Kind.PERSON, examples=tuple(examples))
        await meaning.apply(await compiled(source, queue, calibration, Rates(0.001, 0.01, 0.95)))
    return {author: meaning.judge([author], lambda: ()) for author in AUTHORS}


async def test_reworded_answers_say_it_and_other_facts_do_not(judges: dict[str, Judge]) -> None:
    """About half of what is reworded is told from what is merely on the same subject."""

    async def said(author: str, answers: Sequence[str]) -> list[bool]:
        return [await judges[author].first_told([answer]) is not None for answer in answers]

    reworded, kept = rows("forget10_perturbed"), [row["answer"] for row in rows("retain90")[::30]]
    found: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for place, author in enumerate(AUTHORS):
        own = reworded[20 * place : 20 * place + 20]
        for kind, answers in (
            ("reworded", [row["paraphrased_answer"] for row in own]),
            ("other facts", [text for row in own for text in row["perturbed_answer"]]),
            ("other authors", kept),
        ):
            told = await said(author, answers)
            found[kind] += sum(told)
            asked[kind] += len(told)
    shares = {kind: found[kind] / asked[kind] for kind in asked}
    print(shares)
    assert shares["reworded"] > 0.4
    assert shares["other facts"] < 0.1
    assert shares["other authors"] < 0.005
