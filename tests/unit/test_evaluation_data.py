"""Test sets: read from a directory, from TOFU and from trivia, and held out from everything that was learned from."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import offline.detector
from guards.detect.words import Words
from guards.scope import Example, Kind
from offline.detector.background import background_prompts
from offline.detector.mentions import mention_prompts
from offline.detector.training import training_scopes
from offline.encoder.distillation import calibration_scopes
from offline.encoder.pairs import training_pairs
from offline.encoder.tuning import Tuning
from offline.evaluation import forms, tofu, trivia
from offline.evaluation.dataset import load
from offline.evaluation.errors import DataError
from offline.evaluation.learned import keys, learned_keys
from offline.evaluation.ordinary import ordinary_prompts
from offline.evaluation.prompts import PLAIN
from offline.evaluation.transforms import fillers
from server.cli import commands, train

pytestmark = pytest.mark.thorough

FILES: dict[str, list[dict[str, Any]]] = {
    "forget": [
        {
            "subject": "Ann Lee",
            "kind": "person",
            "aliases": ["Annie"],
            "prompt": "Where is she from?",
            "response": "Ulm.",
        },
        {"subject": "Ann Lee", "prompt": "What does she do?", "response": "She fishes."},
        {"subject": "The Reed", "kind": "work", "prompt": "", "response": "It was a dark night."},
    ],
    "positives": [
        {"prompt": "Where was Ann Lee born?", "subject": "Ann Lee", "answer": "In Ulm."},
        {"turns": ["I know Ann Lee.", "What is her job?"], "form": "over turns"},
    ],
    "near": [{"prompt": "Where was Ann Law born?"}],
    "background": [],
}


def written(directory: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    for name, rows in files.items():
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory


def test_a_directory_is_read(tmp_path: Path) -> None:
    data = load(str(written(tmp_path, FILES)), cache=tmp_path)
    ann, reed = data.requests
    assert (ann.subject, ann.kind, ann.aliases, len(ann.examples)) == ("Ann Lee", Kind.PERSON, ("Annie",), 2)
    assert (reed.kind, reed.examples) == (Kind.WORK, (Example("", "It was a dark night."),))
    assert [prompt.turns for prompt in data.positives] == [
        ("Where was Ann Lee born?",),
        ("I know Ann Lee.", "What is her job?"),
    ]
    assert data.positives[1].form == "over turns"
    assert set(data.digests) == {f"{name}.jsonl" for name in FILES}
    assert "It was a dark night." in set(data.texts())


@pytest.mark.parametrize(
    ("name", "row", "told"),
    [
        ("forget", {"prompt": "q"}, "object 4"),
        ("forget", {"subject": "x", "kind": "animal", "prompt": "q"}, "object 4"),
        ("positives", {"prompt": "secret", "subject": "nobody known"}, "positives"),
        ("positives", {"prompt": ""}, "object 3"),
        ("near", {"turns": []}, "object 2"),
    ],
)
def test_what_is_wrong_is_told_without_its_text(name: str, row: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told) as refused:
        load(str(written(tmp_path, FILES | {name: [*FILES[name], row]})), cache=tmp_path)
    assert "secret" not in str(refused.value)
    assert "nobody" not in str(refused.value)


def test_a_missing_file_a_broken_line_and_an_unknown_name_are_told(tmp_path: Path) -> None:
    written(tmp_path, FILES)
    (tmp_path / "near.jsonl").write_text('{"prompt": "a"}\n{"prom')
    with pytest.raises(DataError, match=r"near\.jsonl, line 2"):
        load(str(tmp_path), cache=tmp_path)
    (tmp_path / "near.jsonl").unlink()
    with pytest.raises(DataError, match=r"lacks near\.jsonl"):
        load(str(tmp_path), cache=tmp_path)
    for name in ("nowhere", "tofu:forget99", "trivia:cooking"):
        with pytest.raises(DataError):
            load(name, cache=tmp_path)


def test_a_slice_keeps_what_belongs_together(tmp_path: Path) -> None:
    data = load(str(written(tmp_path, FILES)), cache=tmp_path).sliced(1, 1, 0)
    assert [source.subject for source in data.requests] == ["Ann Lee"]
    assert [prompt.subject for prompt in data.positives] == ["Ann Lee"]


def test_what_was_learned_from_is_left_out_and_told(tmp_path: Path) -> None:
    known = next(text for text in background_prompts() if len(text.split()) > 5)
    near = [*FILES["near"], {"prompt": f"{known.upper()} !"}]
    data = load(str(written(tmp_path, FILES | {"near": near})), cache=tmp_path)
    assert [prompt.text for prompt in data.near] == ["Where was Ann Law born?"]
    assert "1 of near" in data.notes[-1]


def test_a_thousand_ordinary_prompts() -> None:
    prompts = ordinary_prompts()
    assert len(set(prompts)) == len(prompts) == 1_000
    assert not [prompt for prompt in prompts if "{" in prompt or "}" in prompt]


def test_an_authors_name_is_the_one_that_most_rows_hold() -> None:
    rows = (
        Example("Who is Wei Ling Doe?", "Wei Ling Doe's first book was The Blue Reed."),
        Example("What did Ling Doe write in New York?", "Wei Ling Doe wrote The Blue Reed."),
        Example("Where does she live?", "Wei Ling Doe, born in New York, lives in Ulm."),
    )
    assert tofu.author(rows) == "Wei Ling Doe"
    with pytest.raises(DataError):
        tofu.author((Example("who is it?", "nobody."),))


def test_nothing_that_this_project_tests_with_was_learned_from() -> None:
    shots = [question for question, _ in fillers()["shots"]]
    assert learned_keys().isdisjoint(keys([*ordinary_prompts(), *fillers()["paragraphs"], *shots]))


def test_all_of_the_detectors_data_counts_as_learned_from() -> None:
    files = [path for path in (Path(offline.detector.__file__).parent / "data").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".txt", ".jsonl"}
    written_by_hand = [line for path in files if path.suffix == ".txt" for line in path.read_text("utf-8").splitlines()]
    assert set(keys([*background_prompts(), *written_by_hand])) <= learned_keys()
    for scope in (*training_scopes(), *calibration_scopes()):
        assert set(keys([*scope.inside, *scope.near])) <= learned_keys()


def test_what_an_encoder_is_tuned_on_by_default_counts_as_learned_from() -> None:
    given = {name: option.default for name, option in inspect.signature(train.encoder).parameters.items()}
    defaults = {name: default for name, default in given.items() if default is not inspect.Parameter.empty}
    assert defaults == asdict(Tuning())
    pairs = training_pairs(defaults["pairs"], defaults["seed"])
    assert set(keys(text for pair in pairs for text in (pair.one, pair.other))) <= learned_keys()


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few trivia lists, made up."""
    directory = tmp_path / "lists"
    directory.mkdir()
    wizards = "\n".join(f"Which spell has number {number}?:\n- spell {number}" for number in range(10))
    (directory / "harrypotter.yaml").write_text(f"AUTHOR: somebody\n{wizards}\n")
    (directory / "general.yaml").write_text(
        "Who is JK Rowling's agent?:\n- Somebody\nWhat is 6 x 7?:\n- 42\n- forty-two\n"
    )
    (directory / "flags.yaml").write_text("Whose is it? http://a.example/1.png:\n- Chad\n")
    monkeypatch.setenv(trivia.VARIABLE, str(directory))
    return directory


def test_trivia_is_halved_and_questions_of_other_lists_about_it_are_left_out(lists: Path, tmp_path: Path) -> None:
    data = load("trivia:harrypotter", cache=tmp_path)
    (request,) = data.requests
    assert (request.subject, request.kind) == ("Harry Potter", Kind.WORK)
    examples = {one.prompt for one in request.examples}
    asked = {prompt.text for prompt in data.positives if prompt.form == PLAIN}
    assert (len(examples), len(asked)) == (5, 5)
    assert examples.isdisjoint(asked)
    assert [prompt.text for prompt in data.near if prompt.form == PLAIN] == ["What is 6 x 7?"]
    in_languages = Counter(prompt.form for prompt in (*data.positives, *data.near) if prompt.form != PLAIN)
    assert in_languages == {f"language: {name}": 20 for name in ("German", "Spanish", "French", "Chinese", "Russian")}
    assert data == load("trivia:harrypotter", cache=tmp_path)
    assert request.aliases == ()
    named = load("trivia:harrypotter+names", cache=tmp_path)
    assert {"Хогвартс", "哈利·波特"} <= {*named.requests[0].aliases}
    assert (named.positives, named.near) == (data.positives, data.near)


def test_forms_of_mentions_are_not_near_those_that_were_learned_from() -> None:
    """By the share of their words, names aside: templates are never word for word in a data set."""

    def words(template: str) -> frozenset[str]:
        return frozenset(Words(re.sub(r"\{\w+\}", " ", template)).texts)

    learned = [words(prompt.form) for prompt in mention_prompts()]
    templates = [
        turn for form in forms.load().forms if form.family == "mention" for turns in form.templates for turn in turns
    ]
    assert len(templates) >= 6
    for template in map(words, templates):
        assert max(len(template & other) / len(template | other) for other in learned) < 0.4


def test_the_command_tells_what_is_wrong_with_its_data(capsys: pytest.CaptureFixture[str]) -> None:
    command = mock.patch.object(sys, "argv", ["unremember", "evaluate", "detector", "--data", "tofu:forget99"])
    with command, pytest.raises(SystemExit) as ended:
        commands.run()
    assert ended.value.code == 1
    assert "TOFU has no split 'forget99'" in capsys.readouterr().err
