"""Settings that touch nothing outside a test's own directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from server.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    for variable in list(os.environ):
        if variable.upper().startswith(PREFIX):
            monkeypatch.delenv(variable)


@pytest.fixture
def settings(tmp_path: Path, clean_environment: None) -> Settings:
    """Default settings, with data and cache in the test's directory."""
    return load_settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")
