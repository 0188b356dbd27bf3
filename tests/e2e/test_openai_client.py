"""The official client, sync and async, works unchanged against the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.conftest import System

HELLO: list[dict[str, str]] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        # Without it vLLM holds the model to the form of a call and not to the schema of its arguments.
        "strict": True,
        "parameters": {
            "type": "object",
            # Bounded, or a small model goes on until its tokens end, and no call comes of it.
            "properties": {"city": {"type": "string", "maxLength": 16}},
            "required": ["city"],
        },
    },
}
CHOICE = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"capital": {"type": "string", "maxLength": 20}},
            "required": ["capital"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def client(system: System) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{system.url}/v1", api_key=system.api_key, max_retries=0, timeout=300) as made:
        yield made


@pytest.fixture
async def async_client(system: System) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{system.url}/v1", api_key=system.api_key, max_retries=0, timeout=300
    ) as made:
        yield made


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="smollm2", messages=HELLO, temperature=0, max_tokens=16)
    assert "Paris" in answer.choices[0].message.content


def test_several_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="smollm2", messages=HELLO, temperature=0.7, max_tokens=8, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def test_stream_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="smollm2",
            messages=HELLO,
            temperature=0,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens > 0


def test_tools(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
        tool_choice=CHOICE,
        temperature=0,
        max_tokens=128,
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert call.function.arguments


def test_structured_output(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=HELLO, response_format=SCHEMA, temperature=0, max_tokens=128
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"capital"}


def test_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=HELLO, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
    )
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 3


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="smollm2", prompt=["1, 2, 3,", "a, b, c,"], temperature=0, max_tokens=6)
    assert len(answer.choices) == 2


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["smollm2"]
    assert client.models.retrieve("smollm2").id == "smollm2"


def test_errors(client: openai.OpenAI, system: System) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="smollm2", messages=HELLO, extra_body={"vllm_xargs": {"a": 1}})
    assert "vllm_xargs" in refused.value.message
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="smollm2", messages=HELLO, temperature=-3)
    with (
        openai.OpenAI(base_url=f"{system.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="smollm2", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="smollm2", input="x")


async def test_async_chat_and_stream(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(model="smollm2", messages=HELLO, temperature=0, max_tokens=16)
    stream = await async_client.chat.completions.create(
        model="smollm2", messages=HELLO, temperature=0, max_tokens=16, stream=True
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == answer.choices[0].message.content


async def test_async_tools_schema_logprobs_and_errors(async_client: openai.AsyncOpenAI) -> None:
    create = async_client.chat.completions.create
    common = {"model": "smollm2", "messages": HELLO, "temperature": 0, "max_tokens": 128}
    called, structured, scored = await asyncio.gather(
        create(**common, tools=[WEATHER], tool_choice=CHOICE),
        create(**common, response_format=SCHEMA),
        create(**common | {"max_tokens": 4}, logprobs=True, top_logprobs=3),
    )
    assert called.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert set(json.loads(structured.choices[0].message.content)) == {"capital"}
    assert len(scored.choices[0].logprobs.content[0].top_logprobs) == 3
    with pytest.raises(openai.BadRequestError):
        await create(**common, extra_body={"prompt_embeds": "AAAA"})


@pytest.mark.parametrize("policy", [{"high": ["corrupt"]}, {"high": ["decline"]}], ids=["corrupt", "decline"])
async def test_forgotten_prompts_keep_the_clients_tools_schema_and_choices(
    async_client: openai.AsyncOpenAI, system: System, policy: dict[str, list[str]]
) -> None:
    create = async_client.chat.completions.create
    question = [{"role": "user", "content": "Who wrote Harry Potter?"}]
    common = {"model": "smollm2", "messages": question, "temperature": 0, "max_tokens": 128}
    with system.forgotten({"subject": "Harry Potter", "kind": "work", "aliases": ["Rowling"], "policy": policy}):
        structured, called, several = await asyncio.gather(
            create(**common, response_format=SCHEMA),
            create(**common, tools=[WEATHER], tool_choice=CHOICE),
            create(**common | {"temperature": 0.7, "max_tokens": 32}, n=2, logprobs=True, top_logprobs=2),
        )
    assert set(json.loads(structured.choices[0].message.content)) == {"capital"}
    assert called.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert len(several.choices) == 2
    assert several.choices[0].logprobs.content
    everything = structured.model_dump_json() + called.model_dump_json() + several.model_dump_json()
    assert "rowling" not in everything.casefold()
