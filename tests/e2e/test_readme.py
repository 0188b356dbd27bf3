"""The README's commands, run as they stand against the real system."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import System

README = Path(__file__).parents[2] / "README.md"
FACTS = ("Rowling", "Paris", '"interventions": []', "decline", "corrupt")
"""What an answer shows or does not show: the real output must agree with the printed one on each of them."""


def transcript() -> list[tuple[str, str]]:
    """Commands and printed outputs of the README's console blocks, in order, without those that start the system."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = 1
            while lines[length - 1].endswith("\\"):
                length += 1
            steps.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return [step for step in steps if not step[0].startswith(("make ", "git ", "pip ", "docker "))]


def test_the_readmes_commands_do_what_it_prints(system: System) -> None:
    steps = transcript()
    assert len(steps) >= 5, "the README's story is gone"
    bin_dir = Path(sys.executable).parent
    environment = {
        **system.environment,
        "PATH": f"{bin_dir}:{system.environment['PATH']}",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    identifiers: dict[str, str] = {}
    for command, printed in steps:
        run = command.replace("http://localhost:8080", system.url).replace(
            "~/.local/share/unremember", str(system.data_dir)
        )
        for shown, real in identifiers.items():
            run = run.replace(shown, real)
        done = subprocess.run(["bash", "-c", run], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for fact in FACTS:
            assert (fact in done.stdout) == (fact in printed), f"{command}\nprinted: {printed}\nreal: {done.stdout}"
        for pattern in (r"\bfr_\w+", r"\breq_\w+"):
            identifiers |= dict(zip(re.findall(pattern, printed), re.findall(pattern, done.stdout), strict=False))
    with system.admin() as admin:
        live = [row for row in admin.get("/forget-requests").json()["data"] if row["state"] == "active"]
    if live:
        pytest.fail("the README's story leaves a forget request behind")
