"""Where the database is, and what is said when it cannot be used."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

import pytest

from server.registry.database import database_url, make_engine
from server.registry.registry import Registry
from server.settings import SettingsError, load_settings
from server.vault import Vault
from tests.fakes.detection import VAULT_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings import Settings


def test_the_default_is_a_file_in_the_data_directory(settings: Settings) -> None:
    assert database_url(settings) == f"sqlite+aiosqlite:///{settings.data_dir}/unremember.db"


def test_a_configured_url_is_taken(settings: Settings) -> None:
    chosen = load_settings(data_dir=settings.data_dir, database_url="postgresql://u@h/d")
    assert database_url(chosen) == "postgresql://u@h/d"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_postgres_urls(scheme: str) -> None:
    url = make_engine(f"{scheme}://u:p@h:5/d?sslmode=require&application_name=x").url
    assert url.drivername == "postgresql+asyncpg"
    assert dict(url.query) == {"ssl": "require", "application_name": "x"}
    assert url.password == "p"


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://u:hunter2@h/d", "postgresql+psycopg2://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:"],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="UNREMEMBER_DATABASE_URL") as caught:
        make_engine(url)
    assert "hunter2" not in str(caught.value)


async def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    registry = await Registry.open(f"sqlite:///{tmp_path}/data/x.db", Vault(VAULT_KEY))
    async with registry.engine.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 10_000]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert modes == {0o600}
    await registry.close()


async def test_new_files_are_opened_by_four_at_once(tmp_path: Path) -> None:
    # About one file in ten could not be opened by all of them before the change to WAL was waited for.
    for number in range(20):
        url = f"sqlite:///{tmp_path / str(number) / 'registry.db'}"
        for one in await asyncio.gather(*(Registry.open(url, Vault(VAULT_KEY)) for _ in range(4))):
            await one.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, but long enough to look at" * 10)
    with pytest.raises(SettingsError, match="cannot be opened"):
        await Registry.open(f"sqlite:///{tmp_path}/x.db", Vault(VAULT_KEY))


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be read or made"):
        make_engine(f"sqlite:///{tmp_path}/file/x.db")
