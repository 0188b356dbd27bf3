"""What `unremember evaluate` prints, and how it ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from offline.evaluation.errors import DataError
from server.cli import commands, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE = {"count": 1, "of": 40, "share": 0.025, "low": 0.0044, "high": 0.1288}
FIGURES = {
    "data": {"name": "mine"},
    "detectors": {
        "Unremember": {
            "thresholds": {"high band": None, "1 % of near": 0.7},
            "background": {"high band": SHARE},
            "forms": {"plain": {"missed": {"high band": SHARE, "1 % of near": SHARE}, "touched": {"high band": SHARE}}},
        }
    },
}


def evaluated(job: Callable[..., Any], *arguments: str) -> int:
    """The status of the command with ``job`` as the one that evaluates."""
    jobs = {"evaluate-detector": job, "evaluation-error": DataError}
    command = ["unremember", "evaluate", "detector", "--data", "mine", *arguments]
    with mock.patch.object(evaluate, "job", jobs.__getitem__), mock.patch.object(sys, "argv", command):
        with pytest.raises(SystemExit) as ended:
            commands.run()
        return int(ended.value.code or 0)


def test_it_tells_what_it_does_and_what_came_out(capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {}

    def job(data: list[str], *, progress: Callable[[str, int, int], None], **options: Any) -> Iterator[Any]:
        asked.update(options, data=data)
        for done in (1, 2, 2):
            progress("mine: Unremember", done, 2)
        yield FIGURES, Path("out/mine")

    assert evaluated(job, "--baselines", "none", "--sample", "7", "--out", "out") == 0
    assert (asked["data"], asked["baselines"], asked["sample"], asked["out"]) == (["mine"], (), 7, Path("out"))
    assert asked["rates"] == (0.001, 0.01, 0.95)
    shown = capsys.readouterr().out
    assert shown.count("mine: Unremember: 2 of 2") == 1
    assert "2.5 % (0.44–13)" in shown
    assert "out/mine/index.html" in shown


def test_wrong_data_end_it_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def job(*_: Any, **__: Any) -> Iterator[Any]:
        raise DataError("mine lacks near.jsonl.")
        yield

    assert evaluated(job) == 1
    assert capsys.readouterr().err == "mine lacks near.jsonl.\n"
