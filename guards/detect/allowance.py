"""How much of the encoder's time each client may take, so that none occupies it."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Whose request the running task serves; None for what no client pays for.
CLIENT: contextvars.ContextVar[bytes | None] = contextvars.ContextVar("client", default=None)

# Seconds over which the share holds: a burst may take it all at once.
_PERIOD = 60.0


class Allowance:
    """A token bucket of encoder seconds for each client: filled at ``share`` a second, empty at first use of it all.

    A request is let in while anything is left and charged for what it took, so one may overdraw; the next ones wait.
    With a share of 1 or more nobody waits. Safe to use from several threads.
    """

    def __init__(self, share: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._changing = threading.Lock()
        self._left: dict[bytes, tuple[float, float]] = {}

    def wait(self, client: bytes | None) -> float:
        """Seconds until ``client`` may have something encoded again; 0 if it may now."""
        if client is None or self._share >= 1.0:
            return 0.0
        with self._changing:
            return max(0.0, -self._balance(client) / self._share)

    def charge(self, client: bytes | None, seconds: float) -> None:
        """Take what was spent for ``client``."""
        if client is None or self._share >= 1.0:
            return
        with self._changing:
            self._left[client] = (self._balance(client) - seconds, self._clock())

    def _balance(self, client: bytes) -> float:
        most = self._share * _PERIOD
        left, at = self._left.get(client, (most, 0.0))
        return min(most, left + self._share * (self._clock() - at))
