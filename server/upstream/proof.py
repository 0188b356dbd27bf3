"""Proof by behaviour that corruption works through an upstream.

A version number proves nothing: a stock vLLM takes unknown extra arguments and ignores them, and a
compiled graph that was cached without the plug-in loads beside it and does nothing (vLLM 0.32).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from guards.act.corruption import cache_salt, everything_but_last
from guards.engine.wire import CorruptionArgs
from server.upstream.client import UpstreamError, UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from guards.act.corruption import CorruptionProfile
    from server.upstream.client import UpstreamClient
    from server.upstream.pool import Upstream

log = logging.getLogger(__name__)

_PROMPT: Final = "The capital of France is the city of Paris, and the capital of Italy is the city of"
# For a model that no sweep has given a profile yet: every dimension, far past any word's own spread.
_DEFAULT: Final = ("gaussian-first", 20.0, 0)
# Two runs of one prompt may differ by the shape of their batches; half precision moves a
# log-probability by some hundredths. A corrupted prompt moves it by whole units.
_SAME: Final = 0.1
_DIFFERENT: Final = 0.3


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether it holds, and a sentence to say why or why not."""

    holds: bool
    reason: str
    restricts: bool = False
    """Whether a restriction held too."""


class Prover:
    """Proves one upstream at a time: the same prompt clean, clean again and corrupted.

    The first token's log-probability must agree between the clean runs and differ in the corrupted one.
    """

    def __init__(
        self, client: UpstreamClient, salt_key: bytes, profiles: Callable[[str], CorruptionProfile | None]
    ) -> None:
        self._client = client
        self._salt_key = salt_key
        self._profiles = profiles
        self._runs = 0

    async def __call__(self, upstream: Upstream) -> Proof:
        for model in upstream.cards:
            try:
                proof = await self._prove(upstream, model)
            except UpstreamRefused as refusal:
                return Proof(False, f"it refuses the plug-in's arguments (status {refusal.status})")
            except UpstreamError as error:
                return Proof(False, f"it did not answer the test ({error})")
            except (KeyError, IndexError, TypeError, ValueError):
                return Proof(False, "it answered the test in an unknown form")
            if not proof.holds:
                return proof
        return Proof(True, "proven by behaviour")

    async def _prove(self, upstream: Upstream, model: str) -> Proof:
        self._runs += 1
        answer = await self._client.ask(upstream.route("/tokenize"), {"model": model, "prompt": _PROMPT})
        tokens: list[int] = answer["tokens"]
        profile = self._profiles(model)
        kind, strength, dimensions = (profile.kind, profile.strength, profile.dimensions) if profile else _DEFAULT
        args = CorruptionArgs(
            kind=kind,
            strength=strength,
            dimensions=dimensions,
            # A new seed, so a new cache salt, each time: an old corrupted cache must not stand in for the engine.
            seed=self._runs,
            spans=everything_but_last(len(tokens)),
            prompt_tokens=len(tokens),
        )
        request = {"model": model, "prompt": tokens, "max_tokens": 1, "temperature": 0, "logprobs": 1}
        corrupted = request | {"vllm_xargs": args.to_xargs(), "cache_salt": cache_salt(self._salt_key, args)}
        first = await self._first_token(upstream, request)
        other = await self._first_token(upstream, corrupted)
        again = await self._first_token(upstream, request)
        if first[0] != again[0] or abs(first[1] - again[1]) > _SAME:
            return Proof(False, "the same prompt did not give the same answer twice")
        if first[0] == other[0] and abs(first[1] - other[1]) < _DIFFERENT:
            return Proof(False, "a corrupted prompt gave the same answer as a clean one: the plug-in does nothing")
        return Proof(True, "proven by behaviour")

    async def _first_token(self, upstream: Upstream, request: dict[str, Any]) -> tuple[str, float]:
        answer = await self._client.ask(upstream.route("/v1/completions"), request)
        logprobs = answer["choices"][0]["logprobs"]
        return str(logprobs["tokens"][0]), float(logprobs["token_logprobs"][0])
