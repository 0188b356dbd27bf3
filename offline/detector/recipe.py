"""What a calibration depends on besides the encoder."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable


def fingerprint() -> str:
    """Hash of the detector's and the compiler's sources, and of the prompts it is calibrated with: hex, 16 characters.

    A kept calibration is used only under the fingerprint it was made with.
    """
    digest = hashlib.sha256()
    compiler = resources.files("guards") / "compile.py"
    for file in (compiler, *_files(resources.files("guards.detect")), *_files(resources.files("offline.detector"))):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(directory: Traversable) -> Iterator[Traversable]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry)
        elif entry.name.endswith((".py", ".json", ".txt")):
            yield entry
