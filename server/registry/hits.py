"""How often each phrase in use was met in an answer: counts, by a keyed fingerprint of the phrase; never text."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from guards.phrases.derivation import phrase_key
from server.periodic import Periodic
from server.registry.database import DATABASE_ERRORS
from server.registry.tables import phrase_hits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.vault import Vault

ANY_RUN: Final = ""
"""Under this the runs of words are counted of a text that is kept as shingles: they are too many to count apart."""
_BATCH: Final = 500


class _Counter(NamedTuple):
    request_id: str
    phrase: str
    flagged: bool
    acted: bool


@dataclass(slots=True)
class _Count:
    hits: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class Hits:
    """Where one phrase was met. A hit counts once for each answer, or as often as the watch reports it."""

    flagged: int = 0
    """Acted on, in answers to prompts that were recognised."""
    unflagged: int = 0
    """Acted on, in answers to prompts that nothing flagged: innocent, or missed by detection."""
    seen: int = 0
    """Left alone: a name in an answer to a prompt that nothing flagged, or that the client supplied itself."""
    last_at: float | None = None
    """Unix seconds."""


class PhraseHits:
    """Counts hits without making anybody wait.

    ``count`` adds up in memory; a task adds that to the database every ``interval`` seconds, and
    ``close`` what is left. A process that is killed loses the last ``interval`` seconds of counts: they
    inform, nothing is decided by them. At most ``limit`` different phrases wait at once; hits of more
    are dropped and counted.
    """

    def __init__(self, engine: AsyncEngine, vault: Vault, *, interval: float = 5.0, limit: int = 50_000) -> None:
        self._engine = engine
        self._vault = vault
        self._limit = limit
        self._waiting: dict[_Counter, _Count] = {}
        self._flushing = asyncio.Lock()
        self._writing = Periodic("writing phrase hits", self.flush, interval)
        self.dropped = 0
        """Hits that never reached the database because too many phrases waited for it."""

    def start(self) -> None:
        """Start writing."""
        self._writing.start()

    async def close(self) -> None:
        """Write what waits, then stop."""
        # Not amid a batch: it might be written, and still wait.
        async with self._flushing:
            await self._writing.close()
        with contextlib.suppress(*DATABASE_ERRORS):
            await self.flush()

    def count(self, request_id: str, phrase: str, flagged: bool, acted: bool) -> None:
        """One phrase of a request was met in an answer. Never blocks, never raises."""
        self._add(_Counter(request_id, phrase, flagged, acted), 1, time.time())

    async def flush(self) -> None:
        """Write everything counted so far.

        Raises:
            Any of ``DATABASE_ERRORS``; what was not written is kept.
        """
        async with self._flushing:
            taken, self._waiting = self._waiting, {}
            rows = self._rows(taken)
            try:
                async with self._engine.begin() as connection:
                    for start in range(0, len(rows), _BATCH):
                        await connection.execute(_upsert(connection.dialect.name, rows[start : start + _BATCH]))
            except BaseException:
                # Cancelled in the very moment of its commit, it would be counted twice; otherwise, it would be lost.
                for counter, count in taken.items():
                    self._add(counter, count.hits, count.last_at)
                raise

    async def of(self, request_id: str, phrases: Iterable[str]) -> list[Hits]:
        """Where each of a request's phrases was met: all replicas' counts as far as written, this one's in full.

        Raises:
            Any of ``DATABASE_ERRORS``.
        """
        await self.flush()
        query = select(phrase_hits).where(phrase_hits.c.request_id == request_id)
        found: dict[str, Hits] = {}
        async with self._engine.connect() as connection:
            for row in (await connection.execute(query)).mappings():
                hits = found.setdefault(row["phrase_key"], Hits())
                if not row["acted"]:
                    hits.seen += row["count"]
                elif row["flagged"]:
                    hits.flagged += row["count"]
                else:
                    hits.unflagged += row["count"]
                hits.last_at = max(hits.last_at or 0.0, row["last_at"])
        return [found.get(self._key(request_id, phrase), Hits()) for phrase in phrases]

    def _add(self, counter: _Counter, hits: int, at: float) -> None:
        count = self._waiting.get(counter)
        if count is None:
            if len(self._waiting) >= self._limit:
                self.dropped += hits
                return
            count = self._waiting[counter] = _Count()
        count.hits += hits
        count.last_at = max(count.last_at, at)

    def _key(self, request_id: str, phrase: str) -> str:
        return self._vault.blind(f"phrase\n{request_id}\n{phrase_key(phrase)}")

    def _rows(self, taken: dict[_Counter, _Count]) -> list[dict[str, Any]]:
        """Rows to add, each once though phrases may be spelt in two ways.

        In the same order everywhere: replicas that add to the same rows never wait for one another in a ring.
        """
        sums: dict[tuple[str, str, bool, bool], _Count] = {}
        for counter, count in taken.items():
            key = (counter.request_id, self._key(counter.request_id, counter.phrase), counter.flagged, counter.acted)
            total = sums.setdefault(key, _Count())
            total.hits += count.hits
            total.last_at = max(total.last_at, count.last_at)
        names = ("request_id", "phrase_key", "flagged", "acted")
        return [
            {**dict(zip(names, key, strict=True)), "count": count.hits, "last_at": count.last_at}
            for key, count in sorted(sums.items(), key=lambda item: item[0])
        ]


def _upsert(dialect: str, rows: list[dict[str, Any]]) -> Any:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(phrase_hits).values(rows)
    return statement.on_conflict_do_update(
        index_elements=list(phrase_hits.primary_key),
        set_={"count": phrase_hits.c.count + statement.excluded.count, "last_at": statement.excluded.last_at},
    )
