"""Fixtures of an opened registry. A module that imports them chooses the database by ``database_url``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.registry.registry import Registry
from server.vault import Vault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = bytes(range(32))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet, in a directory that does not either."""
    return f"sqlite:///{tmp_path / 'data' / 'registry.db'}"


@pytest.fixture
async def registry(database_url: str) -> AsyncIterator[Registry]:
    """An empty registry."""
    opened = await Registry.open(database_url, Vault(KEY))
    yield opened
    await opened.close()
