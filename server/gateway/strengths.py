"""How strongly each served model is to be corrupted: known from the registry, or swept on its first start."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from guards.act.corruption import cache_salt
from server.admin.jobs import job
from server.gateway.placement import Prompt, Target, corruption_args
from server.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.act.corruption import CorruptionProfile
    from offline.corruption.sweep import Ask
    from server.api.body import Body
    from server.registry.registry import Registry
    from server.upstream.pool import Pool, Upstream
    from server.upstream.tokenizer import Renderer

log = logging.getLogger(__name__)

_AT_ONCE: Final = 24
_ANSWER_TOKENS: Final = 20


class Strengths:
    """The corruption profiles of the served models. A model without one is declined for, until its sweep has run.

    A profile belongs to what was loaded when it was made: other weights under the same name are swept anew.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._profiles: dict[str, CorruptionProfile] = {}
        self._pool: Pool | None = None
        self._watching: Periodic | None = None

    def get(self, model: str) -> CorruptionProfile | None:
        """The profile of a served model, if its sweep has run."""
        profile = self._profiles.get(model)
        if profile is None or self._pool is None or profile.root not in self._pool.roots(model):
            return None
        return profile

    async def start(self, pool: Pool, renderer: Renderer | None, salt_key: bytes, *, poll_interval: float) -> None:
        """Read the known profiles; in the background, sweep every served model that has none."""
        self._pool = pool
        await self._read()
        work = partial(self._sweep_missing, pool, renderer, salt_key)
        self._watching = Periodic("the corruption sweep", work, poll_interval, at_once=True)
        self._watching.start()

    async def close(self) -> None:
        """Stop. A sweep under way is lost and starts anew next time."""
        if self._watching is not None:
            await self._watching.close()

    async def _read(self) -> None:
        self._profiles = {profile.model: profile for profile in await self._registry.corruption_profiles()}

    async def _sweep_missing(self, pool: Pool, renderer: Renderer | None, salt_key: bytes) -> None:
        missing = [model for model in pool.models() if self.get(model) is None]
        if missing:
            await self._read()  # another replica may have swept it meanwhile
        for model in missing:
            upstream = next((found for found in pool.upstreams if pool.proven(found)), None)
            if self.get(model) is None and upstream is not None and model in upstream.cards:
                root = str(upstream.cards[model].get("root") or "")
                await self._sweep(model, root, Interview(pool, upstream, renderer, salt_key, model))

    async def _sweep(self, model: str, root: str, interview: Interview) -> None:
        log.info("sweeping the corruption strength of a newly served model; its prompts are declined meanwhile")
        sweep = await asyncio.to_thread(job, "corruption-sweep")
        profile: CorruptionProfile = replace(await sweep(interview, model=model), root=root)
        await self._registry.save_corruption_profile(profile)
        self._profiles[model] = profile
        log.info("corruption strength found: %s %.2f", profile.kind, profile.strength)


class Interview:
    """Asks one served model the questions of a sweep, around the gate."""

    def __init__(self, pool: Pool, upstream: Upstream, renderer: Renderer | None, salt_key: bytes, model: str) -> None:
        self._pool = pool
        self._upstream = upstream
        self._renderer = renderer
        self._salt_key = salt_key
        self._model = model
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, asks: Sequence[Ask]) -> list[str]:
        """Answers in the order of the asks. Raises UpstreamError."""
        return await asyncio.gather(*map(self._answer, asks))

    async def _answer(self, ask: Ask) -> str:
        request: Body = {"model": self._model, "messages": [{"role": "user", "content": ask.prompt}]}
        body = request | {"temperature": 0, "max_tokens": _ANSWER_TOKENS}
        async with self._slots:
            if ask.corruption is not None:
                tokens = (await self._pool.client.ask(self._upstream.route("/tokenize"), request))["tokens"]
                target = Target(("messages", 0, "content"), ask.prompt, (ask.entity,))
                prompt = Prompt(request, tokens, lambda body: body)
                args = await corruption_args(ask.corruption, ask.corruption.seed, self._renderer, prompt, [target])
                body |= {"vllm_xargs": args.to_xargs(), "cache_salt": cache_salt(self._salt_key, args)}
            answer = await self._pool.client.ask(self._upstream.route("/v1/chat/completions"), body)
        return str(answer["choices"][0]["message"]["content"] or "")
