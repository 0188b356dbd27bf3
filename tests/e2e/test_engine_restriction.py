"""Restriction inside a real vLLM, asked for directly, around the gateway: the ways around a ban of tokens."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from guards.act.corruption import cache_salt
from guards.act.restriction import restriction_xargs
from guards.engine.vocabulary import form_of, letters_of
from guards.engine.wire import CorruptionArgs
from guards.phrases.phrase import Phrase, PhraseClass
from tests.e2e.asking import UNPOOLED, at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

COMPLETION = "Q: Who wrote Harry Potter?\nA: Harry Potter was written by"
QUESTION = [{"role": "user", "content": "Who wrote Harry Potter?"}]
OTHER = "Q: What is the capital of France?\nA: The capital of France is"
PHRASES = [
    Phrase("J. K. Rowling", PhraseClass.FACT, 6),
    Phrase("Rowling", PhraseClass.FACT, 5),
    Phrase("Joanne", PhraseClass.FACT, 5),
    Phrase("Hogwarts", PhraseClass.FACT, 5),
    Phrase("Ron", PhraseClass.FACT, 3),
]
PATTERNS = ("jkrowl", "rowli", "joann", "hogwa")
ENUM = {
    "type": "object",
    "properties": {"author": {"enum": ["J. K. Rowling"]}},
    "required": ["author"],
    "additionalProperties": False,
}
# vLLM holds only a strict tool to its schema.
TOOL = {"type": "function", "function": {"name": "name_author", "parameters": ENUM, "strict": True}}


class Engine:
    """vLLM, and what it is asked to keep out."""

    def __init__(self, client: httpx.AsyncClient, model: str, key: str) -> None:
        self.client, self.model, self.key = client, model, key
        self.xargs = self.forbid(PHRASES)

    def forbid(self, phrases: list[Phrase], key: str | None = None) -> dict[str, Any]:
        return restriction_xargs(phrases, ["wizard"], 2.0, (key or self.key).encode())

    async def post(self, path: str, restricted: bool = True, **fields: Any) -> httpx.Response:
        body = {"model": self.model, "max_tokens": 24, "temperature": 0}
        return await self.client.post(path, json=body | ({"vllm_xargs": self.xargs} if restricted else {}) | fields)

    async def complete(self, restricted: bool = True, prompt: Any = COMPLETION, **fields: Any) -> dict[str, Any]:
        answer = (await self.post("/v1/completions", restricted, prompt=prompt, **fields)).raise_for_status().json()
        choice: dict[str, Any] = answer["choices"][0]
        return choice

    async def chat(self, restricted: bool = True, messages: Any = QUESTION, **fields: Any) -> dict[str, Any]:
        posted = await self.post("/v1/chat/completions", restricted, messages=messages, **fields)
        choice: dict[str, Any] = posted.raise_for_status().json()["choices"][0]
        return choice


@pytest.fixture(scope="module")
async def engine(
    upstream_url: str, upstream_headers: dict[str, str], model: str, shared_key: str
) -> AsyncIterator[Engine]:
    async with httpx.AsyncClient(
        base_url=upstream_url, headers=upstream_headers, timeout=300, limits=UNPOOLED
    ) as client:
        yield Engine(client, model, shared_key)


def leaks(text: str) -> list[str]:
    """The patterns in a text, told from the text alone."""
    form = form_of(f" {text} ")
    return [one for one in PATTERNS if one in letters_of(form)] + [one for one in (" ron ", " r o n ") if one in form]


def texts(value: Any) -> Iterator[str]:
    """Every string in an answer."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


async def test_the_model_would_say_it(engine: Engine) -> None:
    assert leaks((await engine.complete(restricted=False))["text"])
    assert leaks((await engine.chat(restricted=False, max_tokens=48))["message"]["content"])


async def test_completions(engine: Engine) -> None:
    answer = await engine.complete()
    assert answer["text"]
    assert not leaks(answer["text"])


async def test_chat(engine: Engine) -> None:
    answer = await engine.chat(max_tokens=48)
    assert answer["message"]["content"]
    assert not leaks(answer["message"]["content"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@at_once
async def test_streams(engine: Engine, path: str) -> None:
    asked = {"messages": QUESTION} if "chat" in path else {"prompt": COMPLETION}
    posted = await engine.post(path, stream=True, **asked)
    chunks = [json.loads(line[6:]) for line in posted.text.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice.get("text") or (choice.get("delta") or {}).get("content") or "" for choice in choices)
    assert text
    assert not leaks(text)


async def test_several_sampled_choices(engine: Engine) -> None:
    posted = await engine.post("/v1/completions", prompt=COMPLETION, n=8, temperature=1.0, seed=5)
    choices = posted.raise_for_status().json()["choices"]
    assert len(choices) == 8
    for choice in choices:
        assert not leaks(choice["text"])


@pytest.mark.parametrize(
    "begun", ["It was J.K. Row", "It was J. K. Rowl", "It was J-K-R-o-w", "Hogw", "Her friend is Ro"]
)
@at_once
async def test_an_answer_begun_by_the_client_is_not_completed(engine: Engine, begun: str) -> None:
    messages = [*QUESTION, {"role": "assistant", "content": begun}]
    answer = await engine.chat(messages=messages, add_generation_prompt=False, continue_final_message=True)
    text = begun + answer["message"]["content"]
    assert set(leaks(text)) <= set(leaks(begun))
    assert "rowling" not in letters_of(form_of(text))


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": {"choice": ["J. K. Rowling"]}},
        {"structured_outputs": {"choice": ["Rowling"]}, "min_tokens": 12},
        {"structured_outputs": {"choice": ["Rowling"]}, "ignore_eos": True},
        {"structured_outputs": {"regex": "(Rowling|Hogwarts)+"}},
        {"structured_outputs": {"grammar": 'root ::= "R" "o" "w" "l" "i" "n" "g"'}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "author", "schema": ENUM}}},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "name_author"}}},
        {"tools": [TOOL], "tool_choice": "required"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@at_once
async def test_a_grammar_that_allows_nothing_else_ends_as_an_ordinary_stop(
    engine: Engine, fields: dict[str, Any], stream: bool
) -> None:
    posted = await engine.post("/v1/chat/completions", messages=QUESTION, max_tokens=128, stream=stream, **fields)
    assert posted.status_code == 200
    if stream:
        events = [line[6:] for line in posted.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
        said = "".join(text for choice in choices for text in texts(choice["delta"].get("content") or ""))
    else:
        (choice,) = posted.json()["choices"]
        reasons, said = [choice["finish_reason"]], "".join(texts(choice["message"]))
        assert choice["stop_reason"] is None
    assert reasons in (["stop"], ["tool_calls"])
    assert not leaks(said)
    assert (await engine.complete(restricted=False, max_tokens=1))["text"]


async def test_a_grammar_that_allows_something_else_is_kept(engine: Engine) -> None:
    answer = await engine.chat(structured_outputs={"choice": ["J. K. Rowling", "Jane Austen"]})
    assert not leaks(answer["message"]["content"])
    assert answer["finish_reason"] == "stop"
    schema = {"type": "object", "properties": {"author": {"type": "string", "maxLength": 12}}, "required": ["author"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "author", "schema": schema}}
    answer = await engine.chat(response_format=response_format, max_tokens=64)
    assert isinstance(json.loads(answer["message"]["content"])["author"], str)
    assert not leaks(answer["message"]["content"])


async def test_tokens_pushed_by_the_client(engine: Engine) -> None:
    tokens = (await engine.client.post("/tokenize", json={"model": engine.model, "prompt": " Rowling"})).json()[
        "tokens"
    ]
    pushed = await engine.complete(logit_bias={str(token): 100 for token in tokens})
    assert not leaks(pushed["text"])
    only = await engine.complete(allowed_token_ids=tokens, max_tokens=12)
    assert not leaks(only["text"])


async def test_an_answer_that_may_not_end(engine: Engine) -> None:
    answer = await engine.complete(ignore_eos=True, min_tokens=64, max_tokens=64)
    assert answer["finish_reason"] == "length"
    assert not leaks(answer["text"])


async def test_stop_strings_stop(engine: Engine) -> None:
    free = (await engine.complete())["text"]
    stop = free.split()[1]
    assert (await engine.complete(stop=[stop]))["text"] == free[: free.index(stop)]


@pytest.mark.parametrize("said", ["ROWLING", "R.o.w.l.i.n.g", "Rоwlіng", "Ｒｏｗｌｉｎｇ", "Row\u200bling", "RÖWLING"])
@at_once
async def test_other_spellings_are_the_same_phrase(engine: Engine, said: str) -> None:
    answer = await engine.chat(structured_outputs={"choice": [said]})
    assert answer["finish_reason"] == "stop"
    assert not leaks(answer["message"]["content"])


async def test_ten_thousand_phrases(engine: Engine) -> None:
    many = [Phrase(f"Xq{number} Zyrtane {number}", PhraseClass.FACT, 9) for number in range(10_001)]
    answer = await engine.complete(vllm_xargs=engine.forbid([*many, *PHRASES]))
    assert answer["text"] == (await engine.complete())["text"]


async def test_others_in_the_batch_are_unaffected(engine: Engine) -> None:
    free, restricted = await engine.complete(restricted=False), await engine.complete()
    other = [Phrase("Paris", PhraseClass.FACT, 5)]
    elsewhere = engine.forbid(other)
    answers = await asyncio.gather(
        *(
            engine.complete(
                index % 3 == 1,
                **({"prompt": OTHER, "vllm_xargs": elsewhere} if index % 3 == 2 else {}),
            )
            for index in range(18)
        )
    )
    for index, answer in enumerate(answers):
        if index % 3 == 2:
            assert "paris" not in form_of(answer["text"]).split()
        else:
            assert answer["text"] == (free, restricted)[index % 3]["text"]


async def test_with_a_corruption(engine: Engine) -> None:
    posted = await engine.client.post("/tokenize", json={"model": engine.model, "prompt": COMPLETION})
    count = len(posted.json()["tokens"])
    args = CorruptionArgs("gaussian-first", 0.2, 0, 9, (0, count - 1), count)
    both = {**engine.xargs, **args.to_xargs()}
    salt = cache_salt(b"key of the test", args)
    assert not leaks((await engine.complete(vllm_xargs=both, cache_salt=salt))["text"])
    assert (await engine.post("/v1/completions", prompt=COMPLETION, vllm_xargs=both)).status_code == 400


async def test_raw_log_probabilities_are_those_of_everybody(engine: Engine) -> None:
    free = await engine.complete(restricted=False, max_tokens=1, logprobs=3)
    restricted = await engine.complete(max_tokens=1, logprobs=3)
    first, second = (choice["logprobs"]["top_logprobs"][0] for choice in (free, restricted))
    assert set(first) & set(second)
    for token in set(first) & set(second):
        assert second[token] == pytest.approx(first[token], abs=1e-3)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wrong", ["another key", "cut", "phrases missing", "penalty missing", "unknown"])
@at_once
async def test_what_is_wrong_is_a_400_and_never_a_free_answer(engine: Engine, wrong: str, stream: bool) -> None:
    xargs = {
        "another key": engine.forbid(PHRASES, "another key"),
        "cut": engine.xargs | {"unremember_phrases": engine.xargs["unremember_phrases"][:-9]},
        "phrases missing": {"unremember_penalty": 1.0},
        "penalty missing": {"unremember_phrases": engine.xargs["unremember_phrases"]},
        "unknown": engine.xargs | {"unremember_forbid": "x"},
    }[wrong]
    refused = await engine.post("/v1/completions", prompt=COMPLETION, vllm_xargs=xargs, stream=stream)
    assert refused.status_code == 400
    assert "unremember_" in refused.json()["error"]["message"]
    assert (await engine.complete(max_tokens=1))["text"]


async def test_an_aborted_restriction_leaves_its_place_free(engine: Engine) -> None:
    free = await engine.complete(restricted=False)
    running = asyncio.create_task(engine.complete(max_tokens=400, ignore_eos=True))
    await asyncio.sleep(1)
    running.cancel()
    assert (await engine.complete(restricted=False))["text"] == free["text"]
