"""Carrying out a plan: the request that goes upstream in place of the client's."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.act.corruption import cache_salt, everything_but_last, token_spans
from guards.act.decline import neutral_text
from guards.engine.wire import CorruptionArgs
from guards.scope import Action
from server.api.body import replace
from server.upstream.client import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guards.act.corruption import CorruptionProfile
    from guards.plan import Intervention, Plan, Segment, Span
    from server.api.body import Body, Path
    from server.api.endpoint import Endpoint
    from server.upstream.pool import Pool, Upstream
    from server.upstream.tokenizer import Offsets, Renderer


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The prompts of one request, as the upstream tokenises them."""

    prompts: tuple[tuple[int, ...], ...]
    max_model_len: int | None
    """None where every prompt was given as tokens, so that the upstream was not asked."""

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(map(len, self.prompts))

    @property
    def room(self) -> int:
        """Tokens left for an answer to the longest prompt."""
        return sys.maxsize if self.max_model_len is None else self.max_model_len - max(self.counts)

    def fits(self, output: int | None) -> bool:
        """Whether vLLM would admit every prompt, with ``output`` tokens asked for."""
        room = max(output or 1, 1)
        return self.max_model_len is None or all(count + room <= self.max_model_len for count in self.counts)


class Interventions:
    """Declining and corrupting, alike for every endpoint."""

    def __init__(
        self,
        pool: Pool,
        profiles: Callable[[str], CorruptionProfile | None],
        renderer: Renderer | None,
        salt_key: bytes,
    ) -> None:
        self._pool = pool
        self._profiles = profiles
        self._renderer = renderer
        self._salt_key = salt_key

    async def tokenize(self, endpoint: Endpoint, body: Body, upstream: Upstream) -> Tokenized:
        """The upstream's tokens of every prompt in the body.

        Raises:
            UpstreamRefused: it refuses a prompt.
            UpstreamError: it does not answer.
        """
        url = upstream.route("/tokenize")
        prompts = endpoint.prompts(body)
        answers: list[Any] = await asyncio.gather(
            *(self._pool.client.ask(url, prompt) for prompt in prompts if isinstance(prompt, dict))
        )
        pending = iter(answers)
        try:
            tokens = tuple(tuple(prompt if isinstance(prompt, list) else next(pending)["tokens"]) for prompt in prompts)
            return Tokenized(tokens, int(answers[0]["max_model_len"]) if answers else None)
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError("unknown form of tokens") from error

    async def decline(
        self, endpoint: Endpoint, body: Body, segments: Sequence[Segment], plan: Plan, upstream: Upstream
    ) -> Body:
        """The body with every declined segment replaced by a neutral one. Raises UpstreamError."""
        chosen = [segments[index] for found in _of(plan, Action.DECLINE) for index in found.segments]
        texts: dict[Path, object] = {}
        for segment in _innermost(chosen):
            text = neutral_text(segment.text, endpoint.form(body, segment.path))
            texts[segment.path] = await self._as_given(endpoint, body, segment.path, text, upstream)
        return replace(body, texts)

    async def _as_given(
        self, endpoint: Endpoint, body: Body, path: Path, text: str, upstream: Upstream
    ) -> str | list[int]:
        # Among prompts given as tokens a string would not be admitted.
        if len(path) == 1 or path not in endpoint.token_prompts(body):
            return text
        answer = await self._pool.client.ask(upstream.route("/tokenize"), {"model": body["model"], "prompt": text})
        return list(answer["tokens"])

    async def corrupt(
        self,
        endpoint: Endpoint,
        body: Body,
        segments: Sequence[Segment],
        plan: Plan,
        tokenized: Tokenized,
        client_salt: str,
    ) -> Body:
        """The body of one prompt, with the arguments that corrupt it inside the engine.

        ``tokenized`` is the prompt of ``body``. Whatever cannot be placed in it is corrupted with
        every token but the last.
        """
        profile = self._profiles(body["model"])
        if profile is None:
            raise ValueError("no corruption profile for the model")
        found = _of(plan, Action.CORRUPT)
        chosen = {index: segments[index] for intervention in found for index in intervention.segments}
        (tokens,) = tokenized.prompts
        spans = [span for intervention in found for span in intervention.spans]
        args = CorruptionArgs(
            kind=profile.kind,
            strength=profile.strength,
            dimensions=profile.dimensions,
            seed=self._seed(chosen.values()),
            spans=await self._spans(endpoint, body, tokens, chosen, spans),
            prompt_tokens=len(tokens),
        )
        salt = cache_salt(self._salt_key, args, client_salt=client_salt)
        return body | {"vllm_xargs": args.to_xargs(), "cache_salt": salt}

    def _seed(self, segments: Any) -> int:
        """From the asked texts, so that the same prompt gives the same answer."""
        digest = hmac.new(self._salt_key, digestmod=hashlib.sha256)
        for segment in segments:
            text = segment.text.encode("utf-8", "surrogatepass")
            digest.update(len(text).to_bytes(8, "big") + text)
        return int.from_bytes(digest.digest()[:8], "big") >> 1

    async def _spans(
        self,
        endpoint: Endpoint,
        body: Body,
        tokens: tuple[int, ...],
        chosen: dict[int, Segment],
        spans: Sequence[Span],
    ) -> tuple[int, ...]:
        located = None
        if self._renderer is not None:
            (request,) = endpoint.prompts(body)
            texts = {segment.path: segment.text for segment in chosen.values()}
            located = await self._renderer.locate(request, tokens, texts)
        if located is None:
            return everything_but_last(len(tokens))
        rendered, starts = located
        targets = []
        for index, segment in chosen.items():
            start = starts[segment.path]
            named = [(start + span.start, start + span.end) for span in spans if span.segment == index]
            targets += named or [_all_but_last_token(rendered.offsets, start, start + len(segment.text))]
        return token_spans(rendered.offsets, targets, len(tokens))


def _of(plan: Plan, action: Action) -> list[Intervention]:
    return [found for found in plan.interventions if found.action is action]


def _innermost(segments: Sequence[Segment]) -> list[Segment]:
    """Without segments that contain another one: where a part can be replaced, the whole need not be."""
    paths = {segment.path for segment in segments}
    return [
        segment
        for segment in segments
        if not any(len(path) > len(segment.path) and path[: len(segment.path)] == segment.path for path in paths)
    ]


def _all_but_last_token(offsets: Offsets, start: int, end: int) -> tuple[int, int]:
    """The characters of a text's tokens without its last one, which carries what the text ends in."""
    inside = [(low, high) for low, high in offsets if low < high and low < end and start < high]
    return (start, inside[-2][1]) if len(inside) > 1 else (start, end)
