"""`unremember evaluate detector` with the real encoder, on a slice of TOFU's forget01."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from offline.encoder import tuning
from offline.evaluation import forms
from offline.evaluation.dataset import load
from offline.evaluation.tofu import VARIABLE
from server.cli import commands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from offline.evaluation.prompts import Prompt

pytestmark = pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} does not name a directory with TOFU")

NEAR, BACKGROUND, SAMPLE = 100, 40, 2


@pytest.fixture(scope="module")
def slice_of_tofu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a directory of one's own."""
    directory = tmp_path_factory.mktemp("data")
    data = load("tofu:forget01", cache=directory).sliced(2, NEAR, BACKGROUND)
    forget = [
        {"subject": source.subject, "prompt": one.prompt, "response": one.response}
        for source in data.requests
        for one in source.examples
    ]
    write(directory / "forget.jsonl", forget)
    for name, prompts in (("positives", data.positives), ("near", data.near), ("background", data.background)):
        write(directory / f"{name}.jsonl", map(row, prompts))
    return directory


def row(prompt: Prompt) -> dict[str, Any]:
    return {"prompt": prompt.text, "subject": prompt.subject, "answer": prompt.answer}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("\n".join(json.dumps(one) for one in rows))


@pytest.fixture(scope="module")
def out(slice_of_tofu: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command wrote. CURaTE's encoder is tuned on fewer pairs than it would be."""
    directory = tmp_path_factory.mktemp("out")
    options = ["--sample", str(SAMPLE), "--latency", "10", "--worst", "2", "--cache", str(directory / "cache")]
    command = ["evaluate", "detector", "--data", str(slice_of_tofu), "--out", str(directory), *options]
    with mock.patch.object(tuning, "Tuning", partial(tuning.Tuning, pairs=240)):
        done = CliRunner().invoke(commands.app, command, catch_exceptions=False)
    assert done.exit_code == 0
    return directory / slice_of_tofu.name


@pytest.fixture(scope="module")
def figures(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "figures.json").read_text())
    return found


def test_ours_misses_nothing_and_leaves_the_rest_alone(figures: dict[str, Any]) -> None:
    ours = figures["detectors"]["Unremember"]
    plain = ours["forms"]["plain"]
    assert plain["missed"]["high band"] | {"share": 0.0} == plain["missed"]["high band"]
    assert plain["missed"]["high band"]["of"] == 40
    assert plain["touched"]["high band"]["count"] <= 0.03 * NEAR
    assert ours["background"]["high band"]["count"] == 0
    assert ours["attributed"]["share"] == 1.0
    assert ours["auc"] > 0.999


def test_every_detector_is_measured_in_every_form(figures: dict[str, Any]) -> None:
    assert list(figures["detectors"]) == [*("Unremember", "plain cosine", "ECO recipe", "O3 detector", "CURaTE recipe")]
    names = {"plain", *(form.name for form in forms.load().forms)}
    for found in figures["detectors"].values():
        assert set(found["forms"]) == names
        assert {name for name in found["thresholds"] if name.endswith("of near")} == {
            f"{rate} % of near" for rate in ("0.1", "0.5", "1", "5")
        }
        assert found["auc"] > 0.98
        missed = [cell["missed"] for cell in found["forms"].values() if "missed" in cell]
        assert all(0 < share["of"] <= max(SAMPLE, 40) for one in missed for share in one.values())


def test_baselines_lose_what_windows_keep(figures: dict[str, Any]) -> None:
    """A question in a long text: found by reading all of it, lost by embedding it whole."""
    at = "1 % of near"
    missed = {
        name: found["forms"]["in 2,000 tokens of prose"]["missed"][at]["share"]
        for name, found in figures["detectors"].items()
    }
    assert missed["Unremember"] == 0.0
    assert missed["plain cosine"] == 1.0


def test_the_report_can_be_made_again_and_holds_no_more_than_was_asked_for(out: Path, figures: dict[str, Any]) -> None:
    assert figures["seed"] == 1
    assert set(figures["data_sha256"]) == {"forget.jsonl", "positives.jsonl", "near.jsonl", "background.jsonl"}
    assert all(len(digest) == 64 for digest in figures["data_sha256"].values())
    assert figures["code"].startswith("0.")
    assert {"encode", "verdict"} <= set(figures["latency"]["short"]["ms"])
    assert figures["learning"]["examples"] == 20
    assert "Hsiao" not in (out / "figures.json").read_text() + (out.parent / "cache").name
    page = (out / "index.html").read_text()
    assert page.count("<li>") == 4  # the hardest prompts, two of each side
    assert 'src="http' not in page
    assert {path.stem for path in out.glob("*.png")} == {"scores", "curves", "forms", "appended", "latency"}
