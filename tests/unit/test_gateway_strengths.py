from __future__ import annotations

from guards.engine.wire import from_xargs
from offline.corruption.sweep import Ask, Corruption
from server.gateway.strengths import Interview
from server.telemetry import Telemetry
from server.upstream.client import UpstreamClient
from server.upstream.pool import Pool
from server.upstream.tokenizer import Renderer
from tests.fakes.gateway import SALT_KEY
from tests.fakes.tokenizer import CharacterTokenizer
from tests.fakes.upstream import MODEL, FakeUpstream, prompt_text


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
