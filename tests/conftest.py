"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from server.registry.registry import Registry
from server.vault import Vault
from tests.fakes.detection import VAULT_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="measurements at full size, as for docs/evidence")
    parser.addoption("--out", help="where measurements leave their figures: a path without .json")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that is thorough as a whole need not be imported to be left out."""
    if config.getoption("markexpr") != "not thorough" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.thorough\n" in collection_path.read_text("utf-8") or None


# On a busy machine any example may take long: that is no failure.
for name, count in {"default": 100, "quick": 20}.items():
    settings.register_profile(name, max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet, in a directory that does not either. Override it for another database."""
    return f"sqlite:///{tmp_path / 'data' / 'registry.db'}"


@pytest.fixture(scope="session")
async def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file of an empty registry. A copy is made in a tenth of the time that migrations take."""
    file = tmp_path_factory.mktemp("migrated") / "registry.db"
    await (await Registry.open(f"sqlite:///{file}", Vault(VAULT_KEY))).close()
    return file


@pytest.fixture
async def registry(database_url: str, migrated_file: Path) -> AsyncIterator[Registry]:
    """An empty registry."""
    scheme, _, place = database_url.partition(":///")
    if scheme == "sqlite":
        Path(place).parent.mkdir(mode=0o700)
        shutil.copy(migrated_file, place)
    opened = await Registry.open(database_url, Vault(VAULT_KEY))
    yield opened
    await opened.close()
