"""What the detector is tested with is nowhere in what it was calibrated with or trained on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from offline.evaluation import tofu
from offline.evaluation.dataset import load
from offline.evaluation.learned import keys, learned_keys

if TYPE_CHECKING:
    from pathlib import Path

    from offline.evaluation.dataset import DataSet


def is_held_out(data: DataSet) -> None:
    """Nothing asked or forgotten was learned from; of the rest only general knowledge was, and it is left out."""
    assert learned_keys().isdisjoint(keys(data.texts()))
    assert not [note for note in data.notes if "of positives" in note]


@pytest.mark.skipif(tofu.VARIABLE not in os.environ, reason=f"{tofu.VARIABLE} does not name a directory with TOFU")
@pytest.mark.parametrize("split", tofu.RETAIN)
def test_tofu_is_held_out(split: str, tmp_path: Path) -> None:
    data = load(f"tofu:{split}", cache=tmp_path)
    is_held_out(data)
    assert len(data.requests) == {"forget01": 2, "forget05": 10, "forget10": 20}[split]
    assert len(data.positives) == tofu.QUESTIONS * len(data.requests)
    assert {prompt.subject for prompt in data.positives} == {source.subject for source in data.requests}
    named = [
        sum(source.subject in f"{one.prompt} {one.response}" for one in source.examples) for source in data.requests
    ]
    assert min(named) >= 15


def test_trivia_is_held_out(tmp_path: Path) -> None:
    """Of the lists that ``UNREMEMBER_TRIVIA_DIR`` names, or else of the package, which is downloaded."""
    data = load("trivia:harrypotter", cache=tmp_path)
    is_held_out(data)
    assert len(data.positives) > 100
    assert len(data.near) > 10_000
