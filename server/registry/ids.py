"""Ids of rows."""

from __future__ import annotations

import secrets
import time


def new_id(prefix: str, now: float | None = None) -> str:
    """An id that sorts by time of creation: 48 bits of milliseconds (of ``now``, Unix seconds), 80 random bits."""
    return f"{prefix}_{int((time.time() if now is None else now) * 1000):012x}{secrets.token_hex(10)}"
