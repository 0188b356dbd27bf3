"""Proof by behaviour that corruption and restriction work through an upstream.

A version number proves nothing: a stock vLLM takes unknown extra arguments and ignores them, and a
compiled graph that was cached without the plug-in loads beside it and does nothing (vLLM 0.32).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from guards.act.corruption import cache_salt, everything_but_last
from guards.act.restriction import restriction_xargs
from guards.engine.vocabulary import form_of
from guards.engine.wire import CorruptionArgs
from guards.phrases.phrase import Phrase, PhraseClass
from server.upstream.client import UpstreamRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
# Tokens of the answer in which a word is looked for, and the forbidden one must not stand.
_WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether corruption holds, and a sentence to say why or why not."""

    holds: bool
    reason: str
    restricts: bool = False
    """Whether a restriction holds. Neither verdict depends on the other."""
    restriction: str = "it has not been tried"
    """A sentence to say why or why not."""


class Prover:
    """Proves one upstream at a time. Calling it raises UpstreamError where the upstream gives no answer to judge by.

    Corruption: of the same prompt clean, clean again and corrupted, the first token's log-probability must agree
    between the clean runs and differ in the corrupted one. Restriction: what the model says of its own accord is
    forbidden, and must not be said again.

    Args:
        engine_key: opens a restriction's phrases, where the engine knows it too.
    """

    def __init__(
        self,
        client: UpstreamClient,
        salt_key: bytes,
        profiles: Callable[[str], CorruptionProfile | None],
        engine_key: bytes,
    ) -> None:
        self._client = client
        self._salt_key = salt_key
        self._profiles = profiles
        self._engine_key = engine_key
        self._runs = 0

    async def __call__(self, upstream: Upstream) -> Proof:
        holds, reason = await self._of_every_model(upstream, self._prove_corruption)
        restricts, restriction = await self._of_every_model(upstream, self._prove_restriction)
        return Proof(holds, reason, restricts, restriction)

    async def _of_every_model(
        self, upstream: Upstream, prove: Callable[[Upstream, str], Awaitable[str | None]]
    ) -> tuple[bool, str]:
        for model in upstream.cards:
            try:
                failure = await prove(upstream, model)
            except UpstreamRefused as refusal:
                return False, f"it refuses the plug-in's arguments (status {refusal.status})"
            except (KeyError, IndexError, TypeError, ValueError):
                return False, "it answered the test in an unknown form"
            if failure is not None:
                return False, failure
        return True, "proven by behaviour"

    async def _prove_corruption(self, upstream: Upstream, model: str) -> str | None:
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
            return "the same prompt did not give the same answer twice"
        if first[0] == other[0] and abs(first[1] - other[1]) < _DIFFERENT:
            return "a corrupted prompt gave the same answer as a clean one: the plug-in does nothing"
        return None

    async def _prove_restriction(self, upstream: Upstream, model: str) -> str | None:
        request = {"model": model, "prompt": _PROMPT, "max_tokens": _WORDS, "temperature": 0}
        said = form_of(await self._text(upstream, request)).split()
        if not said:
            return "it said nothing that could be forbidden"
        canary = Phrase(said[0], PhraseClass.FACT, len(said[0]))
        xargs = restriction_xargs([canary], [], 0.0, self._engine_key)
        try:
            instead = form_of(await self._text(upstream, request | {"vllm_xargs": xargs})).split()
        except UpstreamRefused as refusal:
            return (
                f"it refuses a restriction (status {refusal.status}): set UNREMEMBER_ENGINE_KEY to the same value "
                "for the gateway and for its vLLM"
            )
        if not instead:
            return "it ends restricted answers at once: the plug-in cannot read the model's vocabulary"
        if canary.text in instead:
            return "it said what it must not: the plug-in does nothing"
        return None

    async def _text(self, upstream: Upstream, request: dict[str, Any]) -> str:
        answer = await self._client.ask(upstream.route("/v1/completions"), request)
        return str(answer["choices"][0]["text"])

    async def _first_token(self, upstream: Upstream, request: dict[str, Any]) -> tuple[str, float]:
        answer = await self._client.ask(upstream.route("/v1/completions"), request)
        logprobs = answer["choices"][0]["logprobs"]
        return str(logprobs["tokens"][0]), float(logprobs["token_logprobs"][0])
