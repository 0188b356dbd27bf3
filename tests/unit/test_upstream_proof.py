from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from guards.engine.restriction import Forbidden, restriction_from_xargs
from guards.engine.wire import from_xargs
from server.upstream.client import UpstreamClient, UpstreamError
from server.upstream.pool import Upstream
from server.upstream.proof import Proof, Prover
from tests.fakes.gateway import ENGINE_KEY, SALT_KEY, profile
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
    prover = Prover(client, SALT_KEY, {MODEL: profile()}.get, ENGINE_KEY)
    for _ in range(times):
        proof = await prover(upstream)
    return proof


async def test_it_holds_where_corruption_changes_the_answer(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        assert (await prove(client, fake)).holds
        clean, corrupted, again = [one.body for one in fake.generated()][:3]
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
        assert not proof.restricts
        assert "does nothing" in proof.restriction


async def test_an_engine_that_refuses_the_arguments_is_not_proven(client: UpstreamClient) -> None:
    async with FakeUpstream(refuse_arguments=True) as fake:
        proof = await prove(client, fake)
        assert not proof.holds
        assert "status 400" in proof.reason
        assert not proof.restricts
        assert "UNREMEMBER_ENGINE_KEY" in proof.restriction


async def test_an_engine_that_disagrees_with_itself_is_not_proven(client: UpstreamClient) -> None:
    values = iter([-0.1, -2.0, -4.0])

    def drifting(request: Received) -> Reply | None:
        if request.path != "/v1/completions":
            return None
        logprobs = {"tokens": ["a"], "token_logprobs": [next(values, -8.0)]}
        return Reply(body=orjson.dumps({"choices": [{"logprobs": logprobs}]}))

    async with FakeUpstream(handler=drifting) as fake:
        assert not (await prove(client, fake)).holds


async def test_what_the_model_says_by_itself_is_forbidden(client: UpstreamClient) -> None:
    async with FakeUpstream() as fake:
        proof = await prove(client, fake)
        assert (proof.restricts, proof.restriction) == (True, "proven by behaviour")
        clean, restricted = [one.body for one in fake.generated()][3:]
        args = restriction_from_xargs(restricted.pop("vllm_xargs"), ENGINE_KEY)
        assert clean == restricted
        assert args is not None
        assert args.forbidden == (Forbidden("an", 2),)


@pytest.mark.parametrize(
    ("said", "instead", "reason"),
    [
        ("Rome", "Paris", None),
        ("Rome", "", "ends restricted answers at once"),
        ("Rome", "ROME.", "does nothing"),
        ("Rome", "the city of Rome", "does nothing"),
        ("…", "…", "nothing that could be forbidden"),
    ],
)
async def test_neither_verdict_depends_on_the_other(
    client: UpstreamClient, said: str, instead: str, reason: str | None
) -> None:
    def speaking(request: Received) -> Reply | None:
        if request.path != "/v1/completions":
            return None
        text = instead if "vllm_xargs" in request.body else said
        logprobs = {"tokens": ["a"], "token_logprobs": [-1.0]}
        return Reply(body=orjson.dumps({"choices": [{"text": text, "logprobs": logprobs}]}))

    async with FakeUpstream(handler=speaking) as fake:
        proof = await prove(client, fake)
        assert not proof.holds
        assert proof.restricts == (reason is None)
        assert reason is None or reason in proof.restriction


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"choices": []}', b'{"choices": [{"logprobs": null}]}'])
async def test_an_answer_of_unknown_form_proves_nothing(client: UpstreamClient, body: bytes) -> None:
    async with FakeUpstream() as fake:
        fake.handler = lambda request: Reply(body=body) if request.path == "/v1/completions" else None
        proof = await prove(client, fake)
        assert not proof.holds
        assert not proof.restricts


async def test_an_upstream_that_does_not_answer_is_not_judged(client: UpstreamClient) -> None:
    fake = await FakeUpstream().start()
    await fake.stop()
    with pytest.raises(UpstreamError):
        await prove(client, fake)
