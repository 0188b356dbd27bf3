"""Unlearning adapters in the upstreams: each holds those that live scopes use, as far as it has room."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import orjson

from guards.scope import Action, Mode
from server.periodic import Periodic
from server.upstream.client import UpstreamError, UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guards.scope import Scope
    from server.upstream.pool import Pool, Upstream

_log = logging.getLogger(__name__)

_LOAD: Final = "/v1/load_lora_adapter"
_UNLOAD: Final = "/v1/unload_lora_adapter"


class Adapters:
    """Loads and unloads adapters in running vLLM servers, so that they come to hold what the registry says.

    An adapter never changes: another version is another name and path, so that no prefix block of an upstream's cache
    is taken for one of it (vLLM 0.32 tells blocks apart by the path). Where live scopes use more than ``slots``, an
    upstream holds those used last, and prompts to the others are declined until theirs is loaded.

    Args:
        place: the directory of an adapter's files, the same for this process and the upstreams.
        slots: how many an upstream holds at most: no more than its ``--max-loras``.
    """

    def __init__(self, pool: Pool, place: Callable[[str], Path], *, slots: int, interval: float) -> None:
        self._pool = pool
        self._place = place
        self._slots = slots
        self._wanted: dict[str, str] = {}
        """By request."""
        self._used: dict[str, float] = {}
        self._refused: set[tuple[str, str]] = set()
        self._lock = asyncio.Lock()
        self._working = Periodic("reconciling adapters", self.reconcile, interval)

    def start(self) -> None:
        """Begin to keep the upstreams as they should be."""
        self._working.start()

    async def close(self) -> None:
        """Stop. What is loaded stays loaded."""
        await self._working.close()

    async def apply(self, scope: Scope) -> None:
        """A scope is in force: its adapter is wanted, if it uses one."""
        acts = Action.ADAPT in (*scope.policy.high, *scope.policy.low)
        if scope.mode is Mode.ENFORCE and scope.adapter and acts:
            self._wanted[scope.request_id] = scope.adapter
        else:
            self._wanted.pop(scope.request_id, None)

    def remove(self, request_id: str) -> None:
        """A scope is not in force any more."""
        self._wanted.pop(request_id, None)

    def use(self, name: str) -> None:
        """A prompt asks for an adapter."""
        self._used[name] = time.monotonic()

    def wanted(self) -> list[str]:
        """The adapters that every upstream should hold, those used last first."""
        names = sorted(set(self._wanted.values()), key=lambda name: (-self._used.get(name, 0.0), name))
        return names[: self._slots]

    async def reconcile(self) -> None:
        """Bring every healthy upstream that takes adapters to what it should hold."""
        async with self._lock:
            for upstream in self._pool.upstreams:
                if upstream.healthy and upstream.adapts:
                    await self._bring(upstream)
            self._used = {name: at for name, at in self._used.items() if name in set(self._wanted.values())}

    async def _bring(self, upstream: Upstream) -> None:
        wanted = self.wanted()
        for name in sorted(upstream.adapters - set(wanted)):
            # First: a full upstream would drop one by itself, and not say which.
            if await self._ask(upstream, _UNLOAD, {"lora_name": name}):
                upstream.adapters.discard(name)
        for name in wanted:
            if name not in upstream.adapters:
                given = {"lora_name": name, "lora_path": str(self._place(name))}
                if await self._ask(upstream, _LOAD, given):
                    upstream.adapters.add(name)

    async def _ask(self, upstream: Upstream, route: str, body: dict[str, str]) -> bool:
        name = body["lora_name"]
        try:
            await self._pool.client.post(upstream.route(route), orjson.dumps(body))
        except UpstreamRefused as error:
            if (upstream.name, name) not in self._refused:
                self._refused.add((upstream.name, name))
                _log.error("%s refuses adapter %s (status %d)", upstream.name, name, error.status)
            return False
        except UpstreamError as error:
            _log.warning("%s did not take adapter %s: %s", upstream.name, name, error)
            return False
        self._refused.discard((upstream.name, name))
        _log.info("%s %s adapter %s", upstream.name, "holds" if route == _LOAD else "holds no longer", name)
        return True
