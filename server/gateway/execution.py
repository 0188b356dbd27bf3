"""Carrying out a plan on one request: the changed request in place of the client's, and its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.scope import Action
from server.api.body import write
from server.gateway.progress import clock
from server.gateway.relay import relay, relay_corrected
from server.gateway.usage import Usage
from server.upstream.call import Call
from server.upstream.client import UpstreamRefused
from server.upstream.pool import no_upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.plan import Segment
    from server.api.body import Body
    from server.api.endpoint import Endpoint
    from server.gateway.exchange import Exchange
    from server.gateway.intervention import Interventions, Tokenized
    from server.gateway.progress import Progress
    from server.telemetry import Telemetry
    from server.upstream.pool import Pool, Upstream


@dataclass(frozen=True, slots=True)
class Flagged:
    """A request that is not to be answered as it is."""

    endpoint: Endpoint
    body: Body
    payload: bytes
    """``body`` as it was sent upstream."""
    segments: Sequence[Segment]
    client_salt: str
    exchange: Exchange
    progress: Progress


class Execution:
    """Carries out plans."""

    def __init__(self, pool: Pool, interventions: Interventions, telemetry: Telemetry) -> None:
        self._pool = pool
        self._interventions = interventions
        self._telemetry = telemetry

    async def carry_out(self, flagged: Flagged, original: Call) -> None:
        """Answer a flagged request. ``original``, the client's own request on its way, is aborted.

        Raises:
            Unavailable: no upstream can carry out the plan now.
            UpstreamError: an upstream failed.
        """
        endpoint, body, progress = flagged.endpoint, flagged.body, flagged.progress
        response = original.arrived()
        if response is not None and response.status >= 400:
            progress.outcome = "upstream_error"
            await relay(flagged.exchange, response)
            return
        original.close()
        upstream = original.upstream
        if _corrupts(progress):
            upstream = self._pool.pick_proven(body["model"], upstream)
        counting = asyncio.create_task(self._interventions.tokenize(endpoint, body, upstream))
        changed: Call | None = None
        try:
            request = await self._rewritten(flagged, upstream, counting)
            changed = Call(self._pool, upstream, endpoint.path, write(request))
            tokenized = await counting
            # Shortened, a prompt might be admitted that is too long; the client must hear that it is.
            fits = tokenized.fits(endpoint.max_output(body))
            if not fits and await self._pass_error(flagged, upstream):
                return
            response = await changed.response()
            if response.status >= 400:
                if await self._pass_error(flagged, upstream):
                    return
                # The neutral wording may be longer than the question, by just too much.
                changed.close()
                request = await self._bounded(endpoint, request, tokenized, upstream)
                changed = Call(self._pool, upstream, endpoint.path, write(request))
                response = await changed.response()
                if response.status >= 400:
                    raise no_upstream()
            progress.ready = True
            progress.outcome = "intervened"
            await relay_corrected(flagged.exchange, response, Usage(tokenized.counts, int(body.get("n") or 1)))
        except UpstreamRefused:
            # What it refuses is the client's own fault, or ours. Only the client's is the client's to see.
            if not await self._pass_error(flagged, upstream):
                raise no_upstream() from None
        finally:
            counting.cancel()
            if changed is not None:
                changed.close()

    async def _rewritten(self, flagged: Flagged, upstream: Upstream, counting: asyncio.Task[Tokenized]) -> Body:
        """The request that goes upstream in place of the client's, whose tokens are being counted."""
        began = clock()
        endpoint, body, plan, segments = flagged.endpoint, flagged.body, flagged.progress.plan, flagged.segments
        interventions = self._interventions
        request = await interventions.decline(endpoint, body, segments, plan, upstream)
        if _corrupts(flagged.progress):
            prompt = await (counting if request == body else interventions.tokenize(endpoint, request, upstream))
            request = await interventions.corrupt(endpoint, request, segments, plan, prompt, flagged.client_salt)
        if endpoint.max_output(body) is None:
            request = await self._bounded(endpoint, request, await counting, upstream)
        self._telemetry.stage("intervene", clock() - began)
        return request

    async def _bounded(self, endpoint: Endpoint, request: Body, original: Tokenized, upstream: Upstream) -> Body:
        """The changed request, with room for an answer that both it and the client's own would have."""
        changed = await self._interventions.tokenize(endpoint, request, upstream)
        return endpoint.limit_output(request, max(min(original.room, changed.room), 1))

    async def _pass_error(self, flagged: Flagged, upstream: Upstream) -> bool:
        """Send the client's own request again and pass its error on. False if it gives none."""
        call = Call(self._pool, upstream, flagged.endpoint.path, flagged.payload)
        try:
            response = await call.response()
            if response.status < 400:
                return False
            flagged.progress.outcome = "upstream_error"
            await relay(flagged.exchange, response)
            return True
        finally:
            call.close()


def _corrupts(progress: Progress) -> bool:
    return any(found.action is Action.CORRUPT for found in progress.plan.interventions)
