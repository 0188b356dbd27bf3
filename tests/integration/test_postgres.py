"""The registry, the service and the decision log on a real PostgreSQL: the unit tests' cases once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from server.registry.registry import Registry
from server.vault import Vault
from tests.fakes.postgres import PostgresServer, find_binaries
from tests.unit.test_admin_crash import *  # noqa: F403
from tests.unit.test_admin_forgetting import *  # noqa: F403
from tests.unit.test_registry import *  # noqa: F403
from tests.unit.test_registry_decisions import *  # noqa: F403
from tests.unit.test_registry_hits import *  # noqa: F403
from tests.unit.test_registry_jobs import *  # noqa: F403
from tests.unit.test_workbench import *  # noqa: F403

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARIES = find_binaries()

pytestmark = pytest.mark.skipif(BINARIES is None, reason="no PostgreSQL server (initdb) is installed")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    assert BINARIES is not None
    with PostgresServer(BINARIES) as server:
        yield server


@pytest.fixture
async def database_url(postgres: PostgresServer) -> str:
    return await postgres.new_database()


async def test_these_cases_run_on_postgres(registry: Registry) -> None:
    async with registry.engine.connect() as connection:
        assert "PostgreSQL" in (await connection.execute(text("SELECT version()"))).scalar_one()


async def test_a_restarted_server_is_found_again(registry: Registry, postgres: PostgresServer) -> None:
    assert await registry.epoch() == 0
    postgres.restart()
    assert (await registry.set_paused(True)).epoch == 1


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(SettingsError, match="UNREMEMBER_DATABASE_URL") as caught:  # noqa: F405
        await Registry.open("postgresql://someone:hunter2@127.0.0.1:9/none", Vault(bytes(32)))
    assert "hunter2" not in str(caught.value)
