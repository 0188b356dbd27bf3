"""Work that is done again and again in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


class Periodic:
    """Does ``work`` until it is closed, ``interval`` seconds after it was last done.

    Work that fails is tried again after the same interval. A failure is logged once, until the work
    succeeds or fails otherwise, and by its type alone: a message may quote what it failed on.
    """

    def __init__(
        self, name: str, work: Callable[[], Awaitable[object]], interval: float, *, at_once: bool = False
    ) -> None:
        """``at_once``: do it at the start too, not an interval later."""
        self._name = name
        self._work = work
        self._interval = interval
        self._at_once = at_once
        self._failure = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop, in the midst of the work if need be."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _run(self) -> None:
        if not self._at_once:
            await asyncio.sleep(self._interval)
        while True:
            await self._once()
            await asyncio.sleep(self._interval)

    async def _once(self) -> None:
        failure = ""
        try:
            await self._work()
        except Exception as error:
            failure = type(error).__name__
        if failure and failure != self._failure:
            _log.warning("%s failed, and is tried again: %s", self._name, failure)
        self._failure = failure
