"""Corruption inside a real vLLM, asked for directly, around the gateway."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from guards.act.corruption import cache_salt
from guards.engine.wire import KINDS, CorruptionArgs
from tests.e2e.asking import UNPOOLED, at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUESTION = "Q: Who wrote Harry Potter?\nA: Harry Potter was written by"
SAME = 1e-3
"""Log-probabilities of one prompt differ by less than this between batches of another shape."""


@dataclasses.dataclass
class Engine:
    client: httpx.AsyncClient
    model: str

    async def tokens(self, prompt: str) -> list[int]:
        answer = await self.client.post("/tokenize", json={"model": self.model, "prompt": prompt})
        return list(answer.raise_for_status().json()["tokens"])

    async def post(self, prompt: str | list[int], args: CorruptionArgs | None = None, **fields: Any) -> httpx.Response:
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": 8,
            "temperature": 0,
            "logprobs": 1,
        }
        if args is not None:
            body |= {"vllm_xargs": args.to_xargs(), "cache_salt": cache_salt(b"key of the test", args)}
        return await self.client.post("/v1/completions", json=body | fields)

    async def ask(self, prompt: str | list[int], args: CorruptionArgs | None = None, **fields: Any) -> Answer:
        answer = (await self.post(prompt, args, **fields)).raise_for_status().json()["choices"][0]
        return Answer(answer["text"], answer["logprobs"]["token_logprobs"])


@dataclasses.dataclass
class Answer:
    text: str
    logprobs: list[float]

    def agrees_with(self, other: Answer) -> bool:
        """The same words, to within what the shape of a batch does to floating point."""
        return self.text == other.text and self.logprobs == pytest.approx(other.logprobs, abs=SAME)


@pytest.fixture(scope="module")
async def engine(upstream_url: str, upstream_headers: dict[str, str], model: str) -> AsyncIterator[Engine]:
    async with httpx.AsyncClient(
        base_url=upstream_url, headers=upstream_headers, timeout=300, limits=UNPOOLED
    ) as client:
        yield Engine(client, model)


def fresh(text: str, tokens: int, *spans: int, **changes: Any) -> CorruptionArgs:
    """Arguments with a seed of the test's own, so that no other test has warmed their cache."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    args = CorruptionArgs("gaussian-first", 6.0, 0, seed, spans or (0, tokens - 1), tokens)
    return dataclasses.replace(args, **changes)


@pytest.mark.parametrize("kind", KINDS)
@at_once
async def test_every_kind_changes_the_first_token(engine: Engine, kind: str) -> None:
    tokens = await engine.tokens(QUESTION)
    clean = await engine.ask(QUESTION, max_tokens=1)
    corrupted = await engine.ask(QUESTION, fresh(kind, len(tokens), kind=kind), max_tokens=1)
    assert not corrupted.agrees_with(clean)


async def test_the_answer_is_withheld_and_comes_back(engine: Engine) -> None:
    tokens = await engine.tokens(QUESTION)
    clean = await engine.ask(QUESTION)
    assert "Rowling" in clean.text
    corrupted = await engine.ask(QUESTION, fresh("withheld", len(tokens), kind="replace-first", strength=1.0))
    assert "Rowling" not in corrupted.text
    assert (await engine.ask(QUESTION)).agrees_with(clean)


async def test_equal_arguments_give_equal_answers(engine: Engine) -> None:
    args = fresh("equal", len(await engine.tokens(QUESTION)))
    first = await engine.ask(QUESTION, args)
    # Another salt, so that the second answer is computed and not read from the prefix cache.
    second = await engine.ask(QUESTION, args, cache_salt="another")
    warm = await engine.ask(QUESTION, args)
    assert second.agrees_with(first)
    assert warm.agrees_with(first)


async def test_another_seed_gives_another_prompt(engine: Engine) -> None:
    tokens = len(await engine.tokens(QUESTION))
    first = await engine.ask(QUESTION, fresh("seed one", tokens), max_tokens=1)
    second = await engine.ask(QUESTION, fresh("seed two", tokens), max_tokens=1)
    assert not second.agrees_with(first)


async def test_only_the_spans_count(engine: Engine) -> None:
    tokens = await engine.tokens(QUESTION)
    some = await engine.ask(QUESTION, fresh("span", len(tokens), 3, 5), max_tokens=1)
    more = await engine.ask(QUESTION, fresh("span", len(tokens), 3, 8), max_tokens=1)
    assert not some.agrees_with(more)


async def test_strength_zero_is_the_clean_text(engine: Engine) -> None:
    tokens = await engine.tokens(QUESTION)
    for kind in ("gaussian-first", "zero-first", "reverse"):
        unchanged = await engine.ask(QUESTION, fresh("zero", len(tokens), strength=0.0, kind=kind), max_tokens=4)
        assert unchanged.agrees_with(await engine.ask(QUESTION, max_tokens=4))


async def test_a_wrong_token_count_corrupts_everything_but_the_last(engine: Engine) -> None:
    tokens = len(await engine.tokens(QUESTION))
    wrong = await engine.ask(QUESTION, fresh("count", tokens + 1, 0, 1))
    everything = await engine.ask(QUESTION, fresh("count", tokens))
    assert wrong.agrees_with(everything)


async def test_clean_requests_in_the_same_batch_are_unaffected(engine: Engine) -> None:
    tokens = len(await engine.tokens(QUESTION))
    other = "Q: What is the capital of France?\nA: The capital of France is"
    alone = [await engine.ask(QUESTION), await engine.ask(other)]
    answers = await asyncio.gather(
        *(
            engine.ask(prompt, fresh(f"batch {index}", tokens) if index % 3 == 1 else None, cache_salt=f"batch-{index}")
            for index, prompt in enumerate([QUESTION, QUESTION, other] * 4)
        )
    )
    for index, answer in enumerate(answers):
        if index % 3 == 0:
            assert answer.agrees_with(alone[0])
        elif index % 3 == 1:
            assert not answer.agrees_with(alone[0])
        else:
            assert answer.agrees_with(alone[1])


async def test_a_corrupted_prompt_leaves_nothing_in_the_cache_for_a_clean_one(engine: Engine) -> None:
    # Long enough for whole KV blocks, and never asked before: the clean run must compute them itself.
    prompt = "A list of numbers: " + " ".join(str(number) for number in range(300, 420)) + "\nThe next number is"
    tokens = len(await engine.tokens(prompt))
    corrupted = await engine.ask(prompt, fresh("cache", tokens))
    clean = await engine.ask(prompt)
    uncached = await engine.ask(prompt, cache_salt="nothing is cached under this")
    assert clean.agrees_with(uncached)
    assert not corrupted.agrees_with(clean)


async def test_a_clean_prompt_in_the_cache_does_not_stand_in_for_a_corrupted_one(engine: Engine) -> None:
    prompt = "A list of words: " + "apple pear plum " * 40 + "\nThe author of Harry Potter is"
    tokens = len(await engine.tokens(prompt))
    clean = await engine.ask(prompt)
    assert not (await engine.ask(prompt, fresh("warm", tokens))).agrees_with(clean)


async def test_a_chunked_prompt_is_corrupted_alike_wherever_it_is_cut(engine: Engine) -> None:
    # Past 2,048 tokens (vLLM's default on a CPU) a prompt is computed in chunks. Other requests in the batch
    # push the cuts about.
    prompt = "In the beginning there were " + "many words about Harry Potter and " * 345 + "the end of it is"
    tokens = len(await engine.tokens(prompt))
    assert tokens > 2048
    args = fresh("chunks", tokens)
    alone = await engine.ask(prompt, args, max_tokens=4, cache_salt="alone")
    fillers = [engine.ask(f"{index} " * 90, max_tokens=4) for index in range(5)]
    beside, *_ = await asyncio.gather(engine.ask(prompt, args, max_tokens=4, cache_salt="beside"), *fillers)
    clean = await engine.ask(prompt, max_tokens=4)
    assert beside.agrees_with(alone)
    assert not clean.agrees_with(alone)


GOOD = CorruptionArgs("gaussian-first", 1.0, 0, 1, (0, 4), 12).to_xargs()


@pytest.mark.parametrize(
    "xargs",
    [
        GOOD | {"unremember_kind": "no-such-kind"},
        GOOD | {"unremember_strength": -1},
        GOOD | {"unremember_strength": "strong"},
        GOOD | {"unremember_seed": 0.5},
        GOOD | {"unremember_spans": [4, 2]},
        GOOD | {"unremember_spans": [1]},
        GOOD | {"unremember_spans": "0,4"},
        GOOD | {"unremember_prompt_tokens": 0},
        GOOD | {"unremember_forbid": "x"},
        {"unremember_kind": "gaussian-first"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@at_once
async def test_invalid_arguments_are_a_400_and_the_engine_survives(
    engine: Engine, xargs: dict[str, Any], stream: bool
) -> None:
    refused = await engine.post(QUESTION, vllm_xargs=xargs, cache_salt="any", stream=stream)
    assert refused.status_code == 400
    assert "unremember_" in refused.json()["error"]["message"]
    assert (await engine.ask(QUESTION, max_tokens=1)).text


async def test_without_a_cache_salt_it_is_refused(engine: Engine) -> None:
    refused = await engine.post(QUESTION, vllm_xargs=GOOD)
    assert refused.status_code == 400
    assert "cache_salt" in refused.json()["error"]["message"]


async def test_arguments_of_others_pass(engine: Engine) -> None:
    assert (await engine.ask(QUESTION, vllm_xargs={"someone_elses": 1})).agrees_with(await engine.ask(QUESTION))


async def test_several_choices_of_a_corrupted_prompt_are_all_corrupted(engine: Engine) -> None:
    args = fresh("choices", len(await engine.tokens(QUESTION)), kind="replace-first", strength=1.0)
    answer = await engine.post(QUESTION, args, n=4, temperature=0.8, seed=3)
    texts = [choice["text"] for choice in answer.raise_for_status().json()["choices"]]
    assert len(texts) == 4
    assert not any("Rowling" in text for text in texts)


async def test_an_aborted_corruption_leaves_the_next_request_clean(engine: Engine) -> None:
    clean = await engine.ask(QUESTION)
    args = fresh("aborted", len(await engine.tokens(QUESTION)))
    running = asyncio.create_task(engine.ask(QUESTION, args, max_tokens=400, ignore_eos=True))
    await asyncio.sleep(1)
    running.cancel()
    assert (await engine.ask(QUESTION)).agrees_with(clean)
