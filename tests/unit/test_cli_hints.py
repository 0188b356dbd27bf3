"""The commands that a start prints, as a shell reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from server.cli import hints

if TYPE_CHECKING:
    from pathlib import Path

AWKWARD = "it's a $HOME `x` directory"


def program(path: Path) -> Path:
    """Prints its arguments, a JSON string each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport json, sys\nfor one in sys.argv[1:]: print(json.dumps(one))\n")
    path.chmod(0o755)
    return path


def typed(command: str, path: Path) -> list[str]:
    """The arguments that a program gets when the command is typed into bash."""
    environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}", "KEY": "from the environment"}
    done = subprocess.run(["bash", "-euc", command], env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("question", [hints.QUESTION, 'Who\'s "J"? $(id) `id` \\ ü'])
def test_what_curl_is_given(tmp_path: Path, question: str) -> None:
    program(tmp_path / "bin" / "curl")
    key = tmp_path / AWKWARD / "api.key"
    key.parent.mkdir()
    key.write_text("the-key\n")
    for file, expected in ((key, "the-key"), (None, "from the environment")):
        given = typed(hints.chat("http://127.0.0.1:8080", file, "a 'model'", question), tmp_path / "bin")
        assert "http://127.0.0.1:8080/v1/chat/completions" in given
        assert f"Authorization: Bearer {expected}" in given
        assert "Content-Type: application/json" in given
        body = json.loads(given[given.index("-d") + 1])
        assert body["model"] == "a 'model'"
        assert body["messages"] == [{"role": "user", "content": question}]


FORGET = ["forget", "add", "Harry Potter", "--kind", "work", "--alias", "J. K. Rowling", "--wait"]


def test_the_program_is_called_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = program(tmp_path / AWKWARD / "unremember")
    monkeypatch.setattr(sys, "argv", [str(elsewhere), "up"])
    assert typed(hints.forget(), tmp_path) == FORGET


@pytest.mark.parametrize("called", ["unremember", "/somewhere/__main__.py"])
def test_where_it_is_on_the_path_its_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str) -> None:
    program(tmp_path / "unremember")
    monkeypatch.setattr(sys, "argv", [called, "up"])
    assert typed(hints.forget(), tmp_path) == FORGET
