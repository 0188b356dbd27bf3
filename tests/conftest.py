"""Fixtures that unit and integration tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from server.registry.registry import Registry
from server.vault import Vault
from tests.fakes.detection import VAULT_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


settings.register_profile("quick", max_examples=20)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet, in a directory that does not either. Override it for another database."""
    return f"sqlite:///{tmp_path / 'data' / 'registry.db'}"


@pytest.fixture
async def registry(database_url: str) -> AsyncIterator[Registry]:
    """An empty registry."""
    opened = await Registry.open(database_url, Vault(VAULT_KEY))
    yield opened
    await opened.close()
