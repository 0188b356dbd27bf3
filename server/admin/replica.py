"""This replica's copy of the registry: the scopes in its detector, and the epoch they stand for."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

from server.periodic import Periodic
from server.registry.database import DATABASE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from guards.plan import Detection, Segment
    from guards.scope import Scope
    from server.registry.records import Change
    from server.registry.registry import Registry

_log = logging.getLogger(__name__)

_PAGE: Final = 256


class Follows(Protocol):
    """Something that acts by the scopes in force."""

    async def apply(self, scope: Scope) -> None: ...

    def remove(self, request_id: str) -> None: ...


class ScopeIndex(Protocol):
    """What the control plane needs of a detector."""

    def apply(self, scope: Scope) -> None: ...

    def remove(self, request_id: str) -> None: ...

    @property
    def index_vectors(self) -> int: ...

    async def explain(self, segments: Sequence[Segment]) -> tuple[list[Detection], dict[str, float]]: ...


class Replica:
    """Follows the registry's epoch and puts what changed into the detector.

    Every change takes this one way, whichever replica made it, so that changes are applied in the
    registry's order and ``epoch`` never claims more than the detector holds.
    """

    def __init__(
        self,
        registry: Registry,
        detector: ScopeIndex,
        recompile: Callable[[str, int], Awaitable[Scope]],
        *,
        encoder: str,
        poll_interval: float,
        followers: Sequence[Follows] = (),
    ) -> None:
        self._registry = registry
        self._detector = detector
        self._followers = tuple(followers)
        self._recompile = recompile
        self._encoder = encoder
        self._following = asyncio.Lock()
        self._polling = Periodic("following the registry", self._follow, poll_interval)
        self._fault = ""
        self.epoch = 0
        """The registry's epoch that this replica's detector has applied."""
        self.paused = False
        """Whether an operator has paused all enforcement."""
        self.ready = False
        """Whether everything that was live when this replica started is applied, and nothing is amiss."""
        self.waiting: dict[tuple[str, int], float] = {}
        """Versions that some replica has yet to compile, with the monotonic time they were first seen."""

    async def start(self) -> None:
        """Apply all that is live, then keep following.

        What was compiled with another encoder is embedded anew on the way. Where that fails it is tried again in the
        background, and until all of it is applied this replica is not ready: nothing is served by half of the scopes.

        Raises:
            Any of ``DATABASE_ERRORS``.
        """
        await self._follow()
        self._polling.start()

    async def close(self) -> None:
        """Stop following."""
        await self._polling.close()

    async def catch_up(self) -> None:
        """Apply every change that is committed by now.

        Raises:
            Any of ``DATABASE_ERRORS``, or what a scope that must be compiled anew raises. What was
            applied until then stays, and the next call goes on from there.
        """
        async with self._following:
            state = await self._registry.state()
            if state.epoch < self.epoch:
                # A restored backup has forgotten requests that somebody was promised.
                self._report(f"its epoch went back from {self.epoch} to {state.epoch}: a restored backup?")
                return
            cursor = self.epoch
            while state.epoch > self.epoch:
                changes = await self._registry.changes_since(cursor, self._encoder, limit=_PAGE)
                for change in changes:
                    await self._apply(change)
                    cursor = change.epoch
                if len(changes) < _PAGE:
                    self.epoch = state.epoch
            self.paused = state.paused
            self._report("")

    async def _put(self, scope: Scope) -> None:
        self._detector.apply(scope)
        for follower in self._followers:
            await follower.apply(scope)

    async def _apply(self, change: Change) -> None:
        if change.live_version is None:
            self._detector.remove(change.request_id)
            for follower in self._followers:
                follower.remove(change.request_id)
        elif change.scope is not None:
            await self._put(change.scope)
        else:
            # Compiled with another encoder, whose vectors say nothing here.
            scope = await self._recompile(change.request_id, change.live_version)
            await self._registry.save_scope(scope)
            await self._put(scope)
        for key in [key for key in self.waiting if key[0] == change.request_id]:
            if key[1] != change.pending_version:
                del self.waiting[key]
        if change.pending_version is not None:
            self.waiting.setdefault((change.request_id, change.pending_version), time.monotonic())

    async def _follow(self) -> None:
        try:
            await self.catch_up()
        except DATABASE_ERRORS:
            # The scopes already applied stay in force; ready stays, as long as staleness has no limit.
            raise
        except Exception as error:
            self._report(f"a change cannot be applied ({type(error).__name__})")

    def _report(self, fault: str) -> None:
        if fault and fault != self._fault:
            _log.error("this replica does not follow the registry: %s", fault)
        self._fault = fault
        self.ready = not fault
