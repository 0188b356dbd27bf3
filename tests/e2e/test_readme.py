"""The README's commands, run as they stand against the real system."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import System

README = Path(__file__).parents[2] / "README.md"
FACTS = ("Rowling", "Paris", "is active", "is withdrawn", "in shadow", "declined", "corrupt, restrict:", "never knew")
"""What an output shows or does not show: the real one must agree with the printed one on each of them."""
MARK = "=== end of a command ==="


def transcript() -> list[tuple[str, str]]:
    """Commands and printed outputs of the README's console blocks, in order."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = 1
            while lines[length - 1].endswith("\\"):
                length += 1
            steps.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return steps


def test_the_readmes_commands_do_what_it_prints(system: System) -> None:
    steps = transcript()
    assert len(steps) >= 10, "the README's story is gone"
    # One shell, as for somebody who types them; each command's output ends in a mark.
    script = "".join(f"{command}\necho '{MARK}'\n" for command, _ in steps)
    script = script.replace("http://localhost:8080", system.url)
    script = script.replace("~/.local/share/unremember", str(system.data_dir))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={
            **system.environment,
            "PATH": f"{Path(sys.executable).parent}:{system.environment['PATH']}",
            "COLUMNS": "200",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    real = done.stdout.split(f"{MARK}\n")[:-1]
    for (command, printed), output in zip(steps, real, strict=True):
        for fact in FACTS:
            assert (fact in output) == (fact in printed), f"{command}\nprinted: {printed}\nreal: {output}"
