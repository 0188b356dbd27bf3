from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from guards.act.corruption import CorruptionProfile
from guards.engine.wire import from_xargs
from offline.corruption.sweep import Ask, Corruption
from server.gateway.strengths import Interview, Strengths
from server.telemetry import Telemetry
from server.upstream.client import UpstreamClient
from server.upstream.pool import Pool
from server.upstream.proof import Proof
from server.upstream.tokenizer import Renderer
from tests.fakes.gateway import SALT_KEY
from tests.fakes.tokenizer import CharacterTokenizer
from tests.fakes.upstream import MODEL, FakeUpstream, prompt_text
from tests.fakes.waiting import until

if TYPE_CHECKING:
    import pytest

    from server.registry.registry import Registry
    from server.upstream.pool import Upstream


async def test_a_question_is_asked_with_its_entity_corrupted() -> None:
    async with FakeUpstream() as upstream, UpstreamClient(api_key=None, timeout=5, connections=4) as client:
        pool = Pool([upstream.url], client, Telemetry(), probe_interval=5, proof_interval=300)
        interview = Interview(pool, pool.upstreams[0], Renderer(CharacterTokenizer()), SALT_KEY, MODEL)
        how = Corruption("gaussian-first", 2.0, 0, seed=5)
        asks = [Ask("who is Ann?", (7, 10), None), Ask("who is Ann?", (7, 10), how)]
        assert await interview(asks) == ["An answer — naïve ✓", "scrambled answer"]
        clean, corrupted = sorted((one.body for one in upstream.generated()), key=lambda body: "vllm_xargs" in body)
        assert "cache_salt" not in clean
        args = from_xargs(corrupted["vllm_xargs"])
        assert args is not None
        start, end = args.spans
        assert prompt_text(corrupted)[start:end] == "Ann"
        assert (args.kind, args.strength, args.seed) == ("gaussian-first", 2.0, 5)


async def test_other_weights_under_the_same_name_are_swept_anew(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []

    async def sweep(_ask: Interview, *, model: str) -> CorruptionProfile:
        swept.append(model)
        return CorruptionProfile(model, "gaussian-first", float(len(swept)), 0)

    async def prove(_upstream: Upstream) -> Proof:
        return Proof(holds=True, reason="")

    def job(_name: str) -> Any:
        return sweep

    def strength() -> float | None:
        profile = strengths.get(MODEL)
        return profile and profile.strength

    monkeypatch.setattr("server.gateway.strengths.job", job)
    async with FakeUpstream(root="/one") as upstream, UpstreamClient(api_key=None, timeout=5, connections=4) as client:
        pool = Pool([upstream.url], client, Telemetry(), probe_interval=5, proof_interval=300, prove=prove)
        await pool.probe(pool.upstreams[0])
        strengths = Strengths(registry)
        await strengths.start(pool, None, SALT_KEY, poll_interval=0.02)
        await until(lambda: strength() == 1.0)
        await asyncio.sleep(0.1)
        assert swept == [MODEL]

        upstream.root = "/two"
        await pool.probe(pool.upstreams[0])
        assert strengths.get(MODEL) is None
        await until(lambda: strength() == 2.0)
        assert [profile.root for profile in await registry.corruption_profiles()] == ["/two"]
        await strengths.close()

        # Another gateway on the same database knows it.
        other = Strengths(registry)
        await other.start(pool, None, SALT_KEY, poll_interval=5)
        assert other.get(MODEL) == CorruptionProfile(MODEL, "gaussian-first", 2.0, 0, {}, "/two")
        await other.close()
        assert swept == [MODEL, MODEL]
