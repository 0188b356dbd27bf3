"""The page, the figures and the provenance, free of any detector: every evaluation is written by them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from offline.evaluation.intervals import Difference, Share
from offline.evaluation.plots import lines
from offline.evaluation.provenance import code_version, provenance
from offline.evaluation.report import Figure, Group, Report, Row, Section, Table, Tile, page, percent, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.thorough

TABLE = Table(
    "Both.",
    ("missed", "more"),
    (Group("family", (Row("<plain>", (Share(1, 40), Difference(1, 0, 2, 37))), Row("none", (Share(0, 0), None)))),),
    first="form",
)
REPORT = Report(
    "A & B",
    "What was done.",
    (Tile("2.5 %", "missed", "1 of 40"),),
    (Section("Forms", "How they fare.", (TABLE,), quotations={"Hardest": ["<script>alert(1)</script>"]}),),
    {"command": "unremember evaluate", "machine": {"cores": 2, "gpu": None}},
)


def test_a_page_shows_shares_with_intervals_and_escapes_what_it_quotes() -> None:
    shown = page(REPORT)
    assert "2.5 %<small>0.44–12.9</small>" in shown
    assert "1 of 40; 95 % interval 0.44 % to 12.9 %" in shown
    assert "+5.0 %<small>" in shown
    assert "machine · cores" in shown
    assert "gpu" not in shown
    assert "&lt;plain&gt;" in shown
    assert "A &amp; B" in shown
    assert "<script" not in shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0 %"), (0.001, "0.10 %"), (0.0123, "1.2 %"), (1.0, "100 %"), (0.99949, "99.9 %")]
)
def test_shares_are_shown_with_the_digits_that_tell(value: float, shown: str) -> None:
    assert percent(value) == shown


def test_everything_is_written_and_the_page_needs_no_other_file(tmp_path: Path) -> None:
    drawn = lines({"ours": {1.0: Share(1, 10), 2.0: Share(2, 10)}}, x="words", y="flipped")
    section = Section("Flips", "By words.", figures=(Figure("flips", "Flip rate.", drawn),))
    report = Report("R", "S", (), (section,), provenance(7, sample=3))
    write(report, {"detectors": {"ours": Share(1, 2).figures()}}, tmp_path / "deep" / "out")
    written = tmp_path / "deep" / "out"
    assert {path.name for path in written.iterdir()} == {"index.html", "figures.json", "flips.png"}
    assert (written / "flips.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/svg+xml;base64," in (written / "index.html").read_text()
    kept = json.loads((written / "figures.json").read_text())
    assert kept["detectors"]["ours"] == {"count": 1, "of": 2, "share": 0.5, "low": 0.094531, "high": 0.905469}
    assert (kept["seed"], kept["sample"], kept["code"]) == (7, 3, code_version())
    assert kept["command"]
    assert kept["libraries"]["numpy"]


def test_what_evaluations_write_is_no_change_of_the_code(tmp_path: Path) -> None:
    evidence, code = tmp_path / "docs" / "evidence" / "figures.json", tmp_path / "code.py"
    evidence.parent.mkdir(parents=True)

    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init")
    evidence.write_text("1")
    code.write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    evidence.write_text("2")
    assert ", commit " in code_version(tmp_path)
    assert "+changes" not in code_version(tmp_path)
    code.write_text("2")
    assert code_version(tmp_path).endswith("+changes")
