"""Secrets made once and kept in a file of their own that only its owner can read."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "unr_"


class KeyFileError(Exception):
    """A key file cannot be read or made. The message names it and is fit to print."""


def load_or_create_key(path: Path) -> str:
    """The key kept in ``path``; a new random one (256 bits) is made if there is none.

    The file appears complete or not at all, and of two processes that start at once both get the
    same key.

    Raises:
        KeyFileError: the file cannot be read or written, is empty, or is readable by others.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _create(path, PREFIX + secrets.token_urlsafe(32))
        key = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"The key file {path} cannot be used: {error}.") from None
    if not key:
        raise KeyFileError(f"The key file {path} is empty. Remove it, and a new key is made.")
    if mode & 0o077:
        raise KeyFileError(f"The key file {path} can be read by other users. Mend it: chmod 600 {path}.")
    return key


def _create(path: Path, key: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        # link and not rename: it fails where another process was first, whose key then counts.
        path.hardlink_to(scratch)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()
