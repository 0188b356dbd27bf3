"""A prompt's way: admit, read, detect, plan, execute, record."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from guards.plan import Detection, Plan, make_plan
from guards.scope import Action
from server.api.body import parse, write
from server.errors import ApiError, Busy, Unavailable
from server.gateway.exchange import ClientGone, Exchange
from server.gateway.intervention import Interventions, Tokenized
from server.gateway.relay import relay, relay_corrected
from server.gateway.salt import salted
from server.gateway.usage import Usage
from server.registry.decisions import Decision, DecisionDetection, DecisionIntervention
from server.upstream.call import Call
from server.upstream.client import UpstreamError, UpstreamRefused
from server.upstream.pool import no_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guards.act.corruption import CorruptionProfile
    from guards.plan import Intervention, Segment
    from server.api.body import Body
    from server.api.endpoint import Endpoint
    from server.auth import BearerKeys
    from server.gateway.exchange import Receive, Scope, Send
    from server.settings import Settings
    from server.telemetry import Telemetry
    from server.upstream.pool import Pool, Upstream
    from server.upstream.tokenizer import Renderer

log = logging.getLogger(__name__)

_clock = time.perf_counter


class Detects(Protocol):
    """What the gateway needs of a detector."""

    async def detect(self, segments: Sequence[Segment]) -> list[Detection]: ...


class Records(Protocol):
    """What the gateway needs of a decision log."""

    def record(self, decision: Decision) -> None: ...


@dataclass(slots=True)
class _Progress:
    """What happened to one request so far."""

    began: float
    outcome: str = "failed"
    admitted: bool = False
    detections: Sequence[Detection] = ()
    plan: Plan = field(default_factory=Plan)
    sent: float = 0.0
    """When the request went upstream; 0 if it did not."""
    verdict: float = 0.0
    ready: bool = False
    """Whether an answer of the upstream's went to the client."""
    held: float = 0.0
    """How long the answer waited for the verdict."""
    ended: float = 0.0
    """When the upstream's answer was complete."""


class Gateway:
    """Serves the generating endpoints.

    Args:
        renderer: renders prompts as the served model's template does; without it a prompt to be
            corrupted is corrupted whole.
        paused: while it gives true, plans are recorded as shadow and nothing is changed.
    """

    def __init__(
        self,
        *,
        detector: Detects,
        pool: Pool,
        profiles: Callable[[str], CorruptionProfile | None],
        decisions: Records,
        telemetry: Telemetry,
        settings: Settings,
        salt_key: bytes,
        keys: BearerKeys,
        renderer: Renderer | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._detector = detector
        self._pool = pool
        self._profiles = profiles
        self._decisions = decisions
        self._telemetry = telemetry
        self._settings = settings
        self._salt_key = salt_key
        self._keys = keys
        self._paused = paused
        self._interventions = Interventions(pool, profiles, renderer, salt_key)
        self.in_flight = 0

    async def handle(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Every failure ends as an error in OpenAI's envelope, or a cut connection."""
        exchange = Exchange(receive, send)
        progress = _Progress(_clock())
        try:
            try:
                await self._admit(endpoint, scope, exchange, progress)
            except ApiError as error:
                progress.outcome = _outcome_of(error)
                await exchange.refuse(error)
            except UpstreamError:
                progress.outcome = "upstream_failed"
                # An answer that has begun can only be cut: returning now makes the server do it.
                if not exchange.started:
                    await exchange.refuse(no_upstream())
        except ClientGone:
            progress.outcome = "disconnected"
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
            _uncancel()
            progress.outcome = "disconnected"
        except Exception as error:
            log.error("request failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            if not exchange.started:
                await exchange.refuse(ApiError("The server failed to answer.", code="internal_error"))
        finally:
            exchange.close()
            if progress.admitted:
                self.in_flight -= 1
            self._record(endpoint, exchange.id, progress)

    async def _admit(self, endpoint: Endpoint, scope: Scope, exchange: Exchange, progress: _Progress) -> None:
        settings = self._settings
        headers = scope["headers"]
        self._keys.check(headers)
        if self.in_flight >= settings.max_in_flight:
            raise Busy("Too many requests at once; try again shortly.", code="too_many_requests", retry_after=1)
        self.in_flight += 1
        progress.admitted = True
        body = parse(await exchange.body(headers, settings.max_body_bytes), max_nesting=settings.max_nesting)
        endpoint.check(body)
        if not body.get("model"):
            body["model"] = self._pool.default_model()
        upstream = self._pool.pick(body["model"])
        exchange.watch()
        client_salt = body.get("cache_salt") or ""
        if "cache_salt" in body:
            body = salted(body, self._salt_key)
        payload = write(body)
        self._telemetry.stage("admit", _clock() - progress.began)

        progress.sent = _clock()
        call = Call(self._pool, upstream, endpoint.path, payload)
        try:
            try:
                segments = await self._judge(endpoint, body, upstream, progress)
            except UpstreamRefused:
                # Its tokens cannot be decoded. The model does not take them either, and says why.
                response = await call.response()
                if response.status < 400:
                    raise undecided() from None
                progress.outcome = "upstream_error"
                await relay(exchange, response)
                return
            if progress.plan:
                await self._intervene(endpoint, body, payload, segments, client_salt, call, exchange, progress)
            else:
                response = call.arrived() or await call.response()
                progress.ready = True
                progress.held = max(progress.verdict - call.arrived_at, 0.0)
                progress.outcome = "passed" if response.status < 400 else "upstream_error"
                await relay(exchange, response)
        finally:
            progress.ended = _clock()
            call.close()

    async def _judge(
        self, endpoint: Endpoint, body: Body, upstream: Upstream, progress: _Progress
    ) -> Sequence[Segment]:
        """Read the prompt and make a plan. Fails closed, unless the settings say otherwise."""
        began = _clock()
        segments: Sequence[Segment] = ()
        try:
            segments = await self._read(endpoint, body, upstream)
            progress.detections = await self._detector.detect(segments)
        except UpstreamError:
            raise
        except Exception as error:
            log.warning("no verdict on a request: %s", type(error).__name__)
            if self._settings.undecided == "refuse":
                raise undecided() from None
            progress.detections = ()
        progress.verdict = _clock()
        self._telemetry.stage("detect", progress.verdict - began)
        if progress.detections:
            progress.plan = self._plan(endpoint, body, progress.detections)
        return segments

    async def _read(self, endpoint: Endpoint, body: Body, upstream: Upstream) -> list[Segment]:
        token_prompts = endpoint.token_prompts(body)
        if not token_prompts:
            return endpoint.read(body)
        url = upstream.route("/detokenize")
        answers: list[Any] = await asyncio.gather(
            *(
                self._pool.client.ask(url, {"model": body["model"], "tokens": tokens})
                for tokens in token_prompts.values()
            )
        )
        texts = [str(answer["prompt"]) for answer in answers]
        return endpoint.read(body, dict(zip(token_prompts, texts, strict=True)))

    def _plan(self, endpoint: Endpoint, body: Body, detections: Sequence[Detection]) -> Plan:
        # Corruption's arguments are for a request, not for a prompt: one of several is declined instead.
        alone = len(endpoint.prompts(body)) == 1
        plan = make_plan(detections, corruptible=alone and self._profiles(body["model"]) is not None)
        if self._paused():
            plan = Plan((), plan.interventions + plan.shadow)
        for mode, interventions in (("enforce", plan.interventions), ("shadow", plan.shadow)):
            for intervention in interventions:
                self._telemetry.decision(intervention.action.value, mode)
        return plan

    async def _intervene(
        self,
        endpoint: Endpoint,
        body: Body,
        payload: bytes,
        segments: Sequence[Segment],
        client_salt: str,
        original: Call,
        exchange: Exchange,
        progress: _Progress,
    ) -> None:
        response = original.arrived()
        if response is not None and response.status >= 400:
            progress.outcome = "upstream_error"
            await relay(exchange, response)
            return
        original.close()
        began = _clock()
        plan, upstream = progress.plan, original.upstream
        if corrupts := any(found.action is Action.CORRUPT for found in plan.interventions):
            upstream = self._pool.pick_proven(body["model"], upstream)
        counting = asyncio.create_task(self._interventions.tokenize(endpoint, body, upstream))
        changed: Call | None = None
        try:
            request = await self._interventions.decline(endpoint, body, segments, plan, upstream)
            if corrupts:
                prompt = await (
                    counting if request == body else self._interventions.tokenize(endpoint, request, upstream)
                )
                request = await self._interventions.corrupt(endpoint, request, segments, plan, prompt, client_salt)
            if endpoint.max_output(body) is None:
                request = await self._bounded(endpoint, request, await counting, upstream)
            self._telemetry.stage("intervene", _clock() - began)
            changed = Call(self._pool, upstream, endpoint.path, write(request))
            tokenized = await counting
            # Shortened, a prompt might be admitted that is too long; the client must hear that it is.
            fits = tokenized.fits(endpoint.max_output(body))
            if not fits and await self._pass_error(endpoint, payload, upstream, exchange, progress):
                return
            response = await changed.response()
            if response.status >= 400:
                if await self._pass_error(endpoint, payload, upstream, exchange, progress):
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
            await relay_corrected(exchange, response, Usage(tokenized.counts, int(body.get("n") or 1)))
        except UpstreamRefused:
            # What it refuses is the client's own fault, or ours. Only the client's is the client's to see.
            if not await self._pass_error(endpoint, payload, upstream, exchange, progress):
                raise no_upstream() from None
        finally:
            counting.cancel()
            if changed is not None:
                changed.close()

    async def _bounded(self, endpoint: Endpoint, request: Body, original: Tokenized, upstream: Upstream) -> Body:
        """The changed request, with room for an answer that both it and the client's own would have."""
        changed = await self._interventions.tokenize(endpoint, request, upstream)
        return endpoint.limit_output(request, max(min(original.room, changed.room), 1))

    async def _pass_error(
        self, endpoint: Endpoint, payload: bytes, upstream: Upstream, exchange: Exchange, progress: _Progress
    ) -> bool:
        """Send the client's own request again and pass its error on. False if it gives none."""
        call = Call(self._pool, upstream, endpoint.path, payload)
        try:
            response = await call.response()
            if response.status < 400:
                return False
            progress.outcome = "upstream_error"
            await relay(exchange, response)
            return True
        finally:
            call.close()

    def _record(self, endpoint: Endpoint, request_id: str, progress: _Progress) -> None:
        now = _clock()
        total = now - progress.began
        telemetry = self._telemetry
        telemetry.request(endpoint.name, progress.outcome)
        if not progress.admitted:
            return
        timings = {"total": total * 1e3}
        if progress.sent:
            timings["admit"] = (progress.sent - progress.began) * 1e3
        if progress.verdict:
            timings["detect"] = (progress.verdict - progress.sent) * 1e3
        if progress.ready:
            upstream = progress.ended - progress.sent - progress.held
            telemetry.upstream(endpoint.name, upstream)
            telemetry.overhead(endpoint.name, total - upstream)
            timings["upstream"] = upstream * 1e3
        self._decisions.record(
            Decision(
                id=request_id,
                at=time.time(),
                endpoint=endpoint.name,
                outcome=progress.outcome,
                detections=tuple(map(_detection, progress.detections)),
                interventions=tuple(map(_intervention, progress.plan.interventions)),
                shadow=tuple(map(_intervention, progress.plan.shadow)),
                timings_ms=timings,
            )
        )


def undecided() -> Unavailable:
    """The error where detection has no verdict. It reads like any overload."""
    return Unavailable("The server is overloaded; try again shortly.", code="undecided", retry_after=1)


def _detection(found: Detection) -> DecisionDetection:
    return DecisionDetection(
        request_id=found.request_id,
        version=found.version,
        mode=found.mode,
        band=found.band,
        probability=found.probability,
        threshold=found.threshold,
        margin=found.margin,
    )


def _intervention(found: Intervention) -> DecisionIntervention:
    return DecisionIntervention(found.action, found.request_ids)


_OUTCOMES = {401: "unauthorized", 404: "not_found", 413: "refused", 429: "busy", 503: "unavailable"}


def _outcome_of(error: ApiError) -> str:
    return "undecided" if error.code == "undecided" else _OUTCOMES.get(error.status, "refused")


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
