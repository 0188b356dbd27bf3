"""What jobs have made: which, of what, by which code. The files themselves lie in the artefact directory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from server.errors import NotFound
from server.registry.tables import artefacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class UnknownArtefact(NotFound):
    """No artefact has this id."""

    def __init__(self) -> None:
        super().__init__("There is no artefact with this id.", param="artefact", code="unknown_artefact")


@dataclass(frozen=True, slots=True)
class Artefact:
    """Something made once, and never changed."""

    id: str
    request_id: str
    version: int
    """Of the request, whose texts it was made from."""
    kind: str
    job_id: str
    sha256: str
    """Of its files, hexadecimal."""
    data_sha256: str
    """Of what it was made from."""
    seed: int
    code: str
    """Version of this package that made it."""
    figures: Mapping[str, Any]
    created_at: float
    """Unix seconds."""


class ArtefactStore:
    """Reads what there is."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, artefact_id: str) -> Artefact:
        """One artefact. Raises UnknownArtefact."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(artefacts).where(artefacts.c.id == artefact_id))).one_or_none()
        if row is None:
            raise UnknownArtefact
        return _artefact(row)

    async def of(self, request_id: str) -> list[Artefact]:
        """Those made for a request, newest first."""
        query = select(artefacts).where(artefacts.c.request_id == request_id).order_by(artefacts.c.id.desc())
        async with self._engine.connect() as connection:
            return [_artefact(row) for row in await connection.execute(query)]


async def insert_artefact(connection: AsyncConnection, artefact: Artefact) -> None:
    """Add an artefact, within the transaction that ends its job."""
    await connection.execute(artefacts.insert().values(**asdict(artefact)))


def _artefact(row: Row[Any]) -> Artefact:
    return Artefact(**row._mapping)
