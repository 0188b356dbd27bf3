"""What was decided about each request: ids, probabilities, interventions and timings; never text."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select

from guards.plan import Band
from guards.scope import Action, Mode
from server.periodic import Periodic
from server.registry.database import DATABASE_ERRORS
from server.registry.tables import decisions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class DecisionDetection:
    """One scope's verdict, without its evidence."""

    request_id: str
    version: int
    mode: Mode
    band: Band
    probability: float
    threshold: float
    margin: float


@dataclass(frozen=True, slots=True)
class DecisionIntervention:
    """One action and the requests on whose behalf it was taken."""

    action: Action
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The record under a response's ``x-request-id``. ``at`` is Unix seconds."""

    id: str
    at: float
    endpoint: str
    outcome: str
    detections: tuple[DecisionDetection, ...]
    interventions: tuple[DecisionIntervention, ...]
    shadow: tuple[DecisionIntervention, ...]
    """What scopes in shadow would have done."""
    timings_ms: dict[str, float]


class DecisionLog:
    """Keeps decisions without making anybody wait.

    ``record`` puts a decision in memory, where it can be read at once; a task writes batches to the
    database. While the database is slow or gone the queue fills up to ``queue_limit``, then decisions
    are dropped and counted: an audit trail must not stop traffic. A crash loses at most the last
    ``interval`` seconds.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        retention: int,
        recent: int = 2_000,
        queue_limit: int = 20_000,
        interval: float = 0.5,
    ) -> None:
        self._engine = engine
        self._retention = retention
        self._recent: OrderedDict[str, Decision] = OrderedDict()
        self._recent_limit = min(recent, retention)
        self._queue: deque[Decision] = deque()
        self._queue_limit = queue_limit
        self._flushing = asyncio.Lock()
        self._writing = Periodic("writing decisions", self.flush, interval)
        self.dropped = 0
        """Decisions that never reached the database because its queue was full."""

    def start(self) -> None:
        """Start writing."""
        self._writing.start()

    async def close(self) -> None:
        """Write what is queued, then stop."""
        # Not amid a batch: it might be written, and still queued.
        async with self._flushing:
            await self._writing.close()
        with contextlib.suppress(*DATABASE_ERRORS):
            await self.flush()

    def record(self, decision: Decision) -> None:
        """Keep a decision. Never blocks, never raises."""
        if not self._retention:
            return
        self._recent[decision.id] = decision
        if len(self._recent) > self._recent_limit:
            self._recent.popitem(last=False)
        if len(self._queue) >= self._queue_limit:
            self.dropped += 1
        else:
            self._queue.append(decision)

    async def get(self, decision_id: str) -> Decision | None:
        """The decision under this id, if it is still kept."""
        if decision_id in self._recent:
            return self._recent[decision_id]
        query = select(decisions.c.body).where(decisions.c.id == decision_id).order_by(decisions.c.number.desc())
        async with self._engine.connect() as connection:
            body = (await connection.execute(query.limit(1))).scalar_one_or_none()
        return None if body is None else _from_json(body)

    async def flush(self) -> None:
        """Write everything queued so far and drop what is beyond the retention.

        Raises:
            Any of ``DATABASE_ERRORS``; what was not written stays queued.
        """
        async with self._flushing:
            while self._queue:
                batch = list(islice(self._queue, _BATCH))
                rows = [{"id": decision.id, "body": asdict(decision)} for decision in batch]
                async with self._engine.begin() as connection:
                    await connection.execute(insert(decisions), rows)
                    newest = select(func.max(decisions.c.number)).scalar_subquery()
                    await connection.execute(delete(decisions).where(decisions.c.number <= newest - self._retention))
                for _ in batch:
                    self._queue.popleft()


def _from_json(body: dict[str, Any]) -> Decision:
    return Decision(
        id=body["id"],
        at=body["at"],
        endpoint=body["endpoint"],
        outcome=body["outcome"],
        detections=tuple(
            DecisionDetection(**{**found, "mode": Mode(found["mode"]), "band": Band(found["band"])})
            for found in body["detections"]
        ),
        interventions=_interventions(body["interventions"]),
        shadow=_interventions(body["shadow"]),
        timings_ms=body["timings_ms"],
    )


def _interventions(values: list[dict[str, Any]]) -> tuple[DecisionIntervention, ...]:
    return tuple(DecisionIntervention(Action(value["action"]), tuple(value["request_ids"])) for value in values)
