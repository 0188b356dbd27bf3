"""The database: where it is, how a connection is set up, and its schema brought up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from server.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.settings import Settings

DATABASE_FILE: Final = "unremember.db"
MIGRATIONS: Final = Path(__file__).parent / "migrations"

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)
"""What a statement raises while the database cannot be reached, or refuses."""

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_BUSY_SECONDS: Final = 10.0
_BUSY_STEP_SECONDS: Final = 0.01
# Any number that no other program locks on; all replicas must agree on it.
_MIGRATION_LOCK: Final = 7_236_831_902


def database_url(settings: Settings) -> str:
    """The configured URL, or that of the embedded database in the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite+aiosqlite:///{settings.data_dir / DATABASE_FILE}"


def make_engine(url: str) -> AsyncEngine:
    """An engine for SQLite or PostgreSQL. Statements' parameters never reach an error or a log.

    Raises:
        SettingsError: the URL is not one of a database that is supported here.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        _make_private(parsed.database)
        engine = create_async_engine(parsed, hide_parameters=True, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        return engine
    return create_async_engine(
        parsed, hide_parameters=True, pool_pre_ping=True, connect_args={"timeout": 10, "command_timeout": 60}
    )


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to date. Replicas that start at once wait for one another.

    Raises:
        SettingsError: the database cannot be reached, or was written by a newer version.
    """
    name = f"{PREFIX}DATABASE_URL"
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except CommandError:
        raise SettingsError(
            f"{name}: the database has a schema that this version does not know. "
            "Start the version that wrote it, or a newer one."
        ) from None
    except DATABASE_ERRORS as error:
        cause = getattr(error, "orig", None) or error
        raise SettingsError(f"{name}: the database cannot be opened ({type(cause).__name__}).") from None


def _upgrade(connection: Connection) -> None:
    # The lock comes before the first look at the schema: two replicas that both find it empty would
    # both create it.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _parse(url: str) -> URL:
    name = f"{PREFIX}DATABASE_URL"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError(f"{name} is not a database URL, such as postgresql://user@host/name.") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise SettingsError(f"{name}: {parsed.drivername} is not supported. There are postgresql:// and sqlite:///.")
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise SettingsError(f"{name}: SQLite needs a file, as in sqlite:////var/lib/unremember/unremember.db.")
    if "sslmode" in parsed.query:
        # libpq's name, which is in everybody's URLs; asyncpg takes the same values under another.
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": parsed.query["sslmode"]})
    return parsed.set(drivername=driver)


def _make_private(database: str | None) -> None:
    """Let SQLite find a file that only its owner reads; the files it adds copy that mode."""
    path = Path(database or "")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read or made: {error.strerror}.") from None


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    _write_ahead(cursor)
    # FULL: in WAL mode anything less may lose the last commits with the power, and a 201 is a promise.
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Choose the WAL, which the file then keeps.

    SQLite fails at once, busy timeout or not, when two connections to a new file choose it together. The
    other is through after one statement, which runs in a thread of its own: nothing here has to let it.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_STEP_SECONDS)
