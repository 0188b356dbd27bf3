from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from guards.engine.wire import from_xargs
from server.upstream.client import UpstreamClient
from server.upstream.pool import Upstream
from server.upstream.proof import Proof, Prover
from tests.fakes.gateway import SALT_KEY, profile
from tests.fakes.upstream import MODEL, FakeUpstream, Received, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    async with UpstreamClient(api_key=None, timeout=5, connections=8) as made:
        yield made


async def prove(client: UpstreamClient, fake: FakeUpstream, times: int = 1) -> Proof:
    upstream = Upstream(fake.url)
    upstream.cards = {MODEL: {}}
    prover = Prover(client, SALT_KEY, {MODEL: profile()}.get)
    for _ in range(times):
        proof = await prover(upstream)
    return proof


async def test_it_holds_where_corruption_changes_the_answer(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        assert (await prove(client, fake)).holds
        clean, corrupted, again = [one.body for one in fake.generated()]
        assert clean == again
        assert "vllm_xargs" not in clean
        args = from_xargs(corrupted["vllm_xargs"])
        assert args is not None
        assert (args.kind, args.strength) == ("gaussian-first", 4.0)
        assert corrupted["cache_salt"]


async def test_each_proof_has_a_cache_of_its_own(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        await prove(client, fake, times=3)
        salts = [one.body["cache_salt"] for one in fake.generated() if "cache_salt" in one.body]
        assert len(set(salts)) == 3


async def test_a_stock_engine_that_ignores_the_arguments_is_not_proven(client: UpstreamClient) -> None:
    async with FakeUpstream(plugin=False) as fake:
        proof = await prove(client, fake)
        assert not proof.holds
        assert "does nothing" in proof.reason


async def test_an_engine_that_refuses_the_arguments_is_not_proven(client: UpstreamClient) -> None:
    async with FakeUpstream(refuse_arguments=True) as fake:
        proof = await prove(client, fake)
        assert not proof.holds
        assert "status 400" in proof.reason


async def test_an_engine_that_disagrees_with_itself_is_not_proven(client: UpstreamClient) -> None:
    values = iter([-0.1, -2.0, -4.0])

    def drifting(request: Received) -> Reply | None:
        if request.path != "/v1/completions":
            return None
        logprobs = {"tokens": ["a"], "token_logprobs": [next(values)]}
        return Reply(body=orjson.dumps({"choices": [{"logprobs": logprobs}]}))

    async with FakeUpstream(handler=drifting) as fake:
        assert not (await prove(client, fake)).holds


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"logprobs": null}]}', b"x"])
async def test_an_answer_of_unknown_form_proves_nothing(client: UpstreamClient, body: bytes) -> None:
    async with FakeUpstream() as fake:
        fake.handler = lambda request: Reply(body=body) if request.path == "/v1/completions" else None
        assert not (await prove(client, fake)).holds


async def test_an_upstream_that_is_gone_proves_nothing(client: UpstreamClient) -> None:
    fake = await FakeUpstream().start()
    await fake.stop()
    assert not (await prove(client, fake)).holds
