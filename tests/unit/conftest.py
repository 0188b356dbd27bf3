"""Settings that touch nothing outside a test's own directory, and an upstream."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from server.settings import PREFIX, Settings, load_settings
from tests.fakes.upstream import FakeUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    _clean(monkeypatch)


@pytest.fixture(scope="session")
def default_settings() -> Settings:
    """Read once: that takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        _clean(patch)
        return load_settings()


@pytest.fixture
def settings(tmp_path: Path, clean_environment: None, default_settings: Settings) -> Settings:
    """Default settings, with data and cache in the test's directory."""
    return default_settings.model_copy(update={"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"})


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """An upstream that answers as the test says."""
    async with FakeUpstream() as fake:
        yield fake


def _clean(patch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.upper().startswith(PREFIX):
            patch.delenv(variable)
