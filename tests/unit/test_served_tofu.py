"""TOFU on served systems: what is asked, what is made of it, and systems side by side."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from guards.scope import Example, Kind, Source
from offline.evaluation.errors import DataError
from offline.metrics.tofu import UTILITY_PARTS
from offline.served.answerer import Scores
from offline.served.comparison import Compared, compare
from offline.served.report import as_csv, as_latex, make_report
from offline.served.systems import BUILT_IN, System, parse, standing
from offline.served.tofu import Question, Tofu, load, measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RIGHT, WRONG = math.log(0.5), math.log(0.25)


def question(number: int, part: str) -> Question:
    return Question(f"{part} {number}?", f"{part} is {number}", f"{part}, {number}?", f"{number} it is", ("no", "nay"))


DATA = Tofu(
    *(tuple(question(number, part) for number in range(3)) for part in ("forget", "retain", "authors", "facts")), {}
)
SOURCES = [Source("Zaphod", Kind.PERSON, examples=tuple(Example(f"q{n}", f"a{n}") for n in range(4)))]


class Model:
    """Knows everything but what begins with a word it never saw."""

    def __init__(self, unknown: str = "-", *, defined: bool = True) -> None:
        self.unknown = unknown
        self.defined = defined
        self.asked: list[str] = []
        self.admins: list[tuple[str, str, Any]] = []
        self.state = "active"
        self.in_force = 0

    async def answer(self, messages: Sequence[dict[str, str]], *, tokens: int, begun: str = "") -> str:
        text = messages[-1]["content"]
        self.asked.append(text)
        if text.startswith(self.unknown):
            return "I do not know anything about that."
        part, number = text.rstrip("?").replace(",", "").split()
        return f"{part} is {number}"

    async def score(self, messages: Sequence[dict[str, str]], answers: Sequence[str]) -> list[Scores] | None:
        known = not messages[-1]["content"].startswith(self.unknown)
        if not known and not self.defined:
            return None
        right, wrong = (RIGHT, WRONG) if known else (WRONG, RIGHT)
        return [Scores((1, 2), (right if place < 2 else wrong,) * 2, (1, 2)) for place in range(len(answers))]

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        self.admins.append((method, path, body))
        if path == "/status":
            return {"requests": {"active": self.in_force, "shadow": 0, "withdrawn": 9}}
        self.unknown = "forget" if method == "POST" else "-"
        return {"id": "fr_1", "state": self.state}


def quiet(*_: object) -> None:
    """Whoever is told progress."""


async def test_a_model_that_knows_everything() -> None:
    done: list[int] = []
    model = Model()
    found = await measure(model, DATA, done.append)
    assert sum(done) == DATA.size == 12
    assert found.truth_ratios == pytest.approx([0.5] * 3)  # 0.25 / 0.5
    assert found.forget_probability == pytest.approx(0.5)
    assert found.forget_rouge == (1.0,) * 3
    assert found.parts is not None
    assert set(found.parts) == set(UTILITY_PARTS)
    assert found.parts["retain_probability"] == pytest.approx(0.5)
    assert found.parts["real_authors_probability"] == pytest.approx(0.5)  # 0.5 of 0.5 + 0.25 + 0.25
    assert found.parts["world_facts_truth"] == pytest.approx(0.5)
    # What is to be forgotten is asked in other words, the rest as it is.
    assert {"forget, 0?", "retain 0?"} < set(model.asked)
    assert "forget 0?" not in model.asked


async def test_what_is_not_shown_by_figures_is_not_defined() -> None:
    found = await measure(Model("forget", defined=False), DATA, quiet)
    assert (found.truth_ratios, found.forget_probability) == (None, None)
    assert max(found.forget_rouge) < 0.5
    assert found.parts is not None
    assert (await measure(Model("facts", defined=False), DATA, quiet)).parts is None


def test_the_files_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"question": "q", "answer": "a", "perturbed_answer": ["x", "y"]}
    full = row | {"paraphrased_question": "Q", "paraphrased_answer": "A"}
    files = {"forget01": [full] * 5, "retain": [full] * 4, "real_authors": [row] * 3, "world_facts": [row]}
    for name, rows in files.items():
        (tmp_path / f"{name}_perturbed.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    monkeypatch.setenv("UNREMEMBER_TOFU_DIR", str(tmp_path))
    data = load("forget01", forget=slice(1, 5, 2), retain=3, others=2)
    assert [len(part) for part in (data.forget, data.retain, data.real_authors, data.world_facts)] == [2, 3, 2, 1]
    assert data.forget[0] == Question("q", "a", "Q", "A", ("x", "y"))
    assert data.world_facts[0] == Question("q", "a", "q", "a", ("x", "y"))
    (tmp_path / "retain_perturbed.jsonl").write_text('{"question": "q"}\n')
    with pytest.raises(DataError, match="not one of TOFU's"):
        load("forget01", forget=slice(0, 1), retain=1)
    monkeypatch.delenv("UNREMEMBER_TOFU_DIR")
    with pytest.raises(DataError, match="UNREMEMBER_TOFU_DIR"):
        load("forget01", forget=slice(0, 1), retain=1)


def test_systems_are_named(tmp_path: Path) -> None:
    for name in BUILT_IN:
        assert parse(name).name == name
    described = {"url": "http://h:1", "model": "m"}
    assert parse("x=http://h:1#m") == System("x", url="http://h:1", model="m", describes=described)
    policy = tmp_path / "policy.toml"
    policy.write_text('high = ["corrupt"]\nlow = []\n')
    assert parse(f"mine={policy}").policy == {"high": ["corrupt"], "low": []}
    policy.write_text("low = []")
    for wrong, why in (("magic", "There is no system"), (f"x={policy}", "no `high`"), ("x=/none.toml", "no policy")):
        with pytest.raises(DataError, match=why):
            parse(wrong)


async def test_what_a_system_forgets_is_in_force_only_while_it_is_asked() -> None:
    gate: Any = Model()
    async with standing(parse("corrupt"), gate, SOURCES, "key", seed=1) as system:
        assert system is gate
        method, path, body = gate.admins[-1]
        assert (method, path) == ("POST", "/forget-requests?wait=active")
        assert (body["subject"], body["policy"], len(body["examples"])) == (
            "Zaphod",
            {"high": ["corrupt"], "low": ["corrupt"]},
            4,
        )
    assert gate.admins[-1][:2] == ("DELETE", "/forget-requests/fr_1")
    gate.state = "error"
    with pytest.raises(DataError, match="does not enforce"):
        async with standing(parse("corrupt"), gate, SOURCES, "key", seed=1):
            pytest.fail("it stands")


@pytest.mark.parametrize(("name", "says"), [("prompt guardrail", "Zaphod"), ("in-context unlearning", "Q: q")])
async def test_systems_that_only_instruct(name: str, says: str) -> None:
    heard: list[Any] = []

    class Listening(Model):
        async def answer(self, messages: Sequence[dict[str, str]], *, tokens: int, begun: str = "") -> str:
            heard.extend(messages)
            return ""

    gate: Any = Listening()
    async with standing(parse(name), gate, SOURCES, "key", seed=1) as system:
        await system.answer([{"role": "user", "content": "x"}], tokens=1)
    assert gate.admins == []
    assert heard[0]["role"] == "system"
    assert says in heard[0]["content"]
    # Nobody keeps an answer of its own.
    assert not any(f"Q: q{n}\nA: a{n}" in heard[0]["content"] for n in range(4))


async def compared() -> Compared:
    gate: Any = Model()
    systems = [parse("bare"), parse("corrupt")]
    return await compare(systems, ["bare"], gate, SOURCES, DATA, key="", seed=1, progress=quiet)


async def test_systems_side_by_side() -> None:
    found = await compared()
    figures = found.figures()["systems"]
    assert figures["bare"]["ks_distance"] == 0.0
    assert figures["corrupt"]["ks_distance"] == 1.0
    assert figures["corrupt"]["mean_truth_ratio"] == pytest.approx(2.0)
    assert figures["corrupt"]["refusals"]["count"] == 3
    assert figures["bare"]["model_utility"] == pytest.approx(9 / (6 / 0.5 + 3 / 1.0))
    assert "I do not know" not in json.dumps(found.figures())


async def test_the_tables_of_a_comparison() -> None:
    found = await compared()
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [row["system"] for row in rows] == ["bare", "corrupt"]
    assert (rows[1]["distance"], rows[1]["refusals"]) == ("1.000", "1.000")
    latex = as_latex(found)
    assert r"corrupt & 1.000" in latex
    assert latex.count(r"\\") == 3
    report = make_report(found, DATA, {"seed": 1})
    assert [figure.name for figure in report.sections[0].figures] == ["truth-ratios", "quality-and-utility"]
    assert report.tiles[0].value == "1.000"


async def test_a_gateway_that_forgets_something_is_not_evaluated() -> None:
    gate: Any = Model()
    gate.in_force = 1
    with pytest.raises(DataError, match="in force"):
        await compare([parse("bare")], [], gate, SOURCES, DATA, key="", seed=1, progress=quiet)
    with pytest.raises(DataError, match="no system 'x'"):
        await compare([parse("bare")], ["x"], Model(), SOURCES, DATA, key="", seed=1, progress=quiet)  # type: ignore[arg-type]
