"""What a training leaves behind until it is done, so that it can go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_RUN: Final = "run.json"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A directory of `transformers.Trainer`'s checkpoints, which belong to one run."""

    directory: Path

    @property
    def kept(self) -> Path:
        """The adapter's weights when last within the tolerance; may not be there."""
        return self.directory / "kept.safetensors"

    def claim(self, run: Mapping[str, str | None]) -> None:
        """Take the directory for a run, named by what its weights depend on.

        Raises:
            ValueError: it holds checkpoints of another run; says what differs.
        """
        path = self.directory / _RUN
        if path.exists():
            there = json.loads(path.read_text("utf-8"))
            if other := [name for name, value in run.items() if there.get(name) != value]:
                raise ValueError(
                    f"{self.directory} holds an unfinished training with another {' and '.join(other)}; "
                    "remove it, or choose another output"
                )
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")

    def latest(self) -> str | None:
        """The path of the last whole checkpoint. One that was being written when the run was killed is passed over."""
        there = sorted(self.directory.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        return next((str(path) for path in reversed(there) if _whole(path)), None)

    def remove(self) -> None:
        """Of the whole directory."""
        shutil.rmtree(self.directory)


def _whole(checkpoint: Path) -> bool:
    # The state is the last file that the Trainer writes.
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True
