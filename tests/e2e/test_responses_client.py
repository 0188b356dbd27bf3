"""The official OpenAI client's responses API works unchanged against the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.conftest import System

HELLO = "What is the capital of France?"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather of a city",
    # Without it vLLM holds the model to the form of a call and not to the schema of its arguments.
    "strict": True,
    # Bounded, or a small model goes on until its tokens end, and no call comes of it.
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 16}},
        "required": ["city"],
    },
}
CHOICE = {"type": "function", "name": "get_weather"}
FORMAT: dict[str, Any] = {
    "format": {
        "type": "json_schema",
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"capital": {"type": "string", "maxLength": 20}},
            "required": ["capital"],
            "additionalProperties": False,
        },
    }
}
COMMON: dict[str, Any] = {"model": "smollm2", "temperature": 0, "max_output_tokens": 16}
LOGPROBS: Any = "message.output_text.logprobs"


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


def test_a_response(client: openai.OpenAI) -> None:
    answer = client.responses.create(**COMMON, input=HELLO, instructions="Answer in a sentence.")
    assert "Paris" in answer.output_text
    assert answer.status == "completed"
    assert answer.instructions == "Answer in a sentence."
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_stream(client: openai.OpenAI) -> None:
    with client.responses.stream(**COMMON, input=[{"role": "user", "content": HELLO}]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "Paris" in final.output_text


def test_items_of_several_turns(client: openai.OpenAI) -> None:
    first = client.responses.create(**COMMON, input=HELLO, previous_response_id=None)
    call = {"type": "function_call", "name": "get_weather", "arguments": '{"city": "Paris"}', "call_id": "c1"}
    again: Any = [
        {"role": "user", "content": HELLO},
        *(item.model_dump() for item in first.output),
        {"role": "user", "content": [{"type": "input_text", "text": "And its weather?"}]},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    answer = client.responses.create(**COMMON, input=again, tools=[WEATHER], tool_choice="none")
    assert answer.output_text


def test_tools(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"input": "What is the weather in Paris?", "tools": [WEATHER], "tool_choice": CHOICE}
    answer = client.responses.create(**COMMON | {"max_output_tokens": 128}, **asked)
    assert [(item.type, getattr(item, "name", "")) for item in answer.output] == [("function_call", "get_weather")]
    with client.responses.stream(**COMMON | {"max_output_tokens": 128}, **asked) as stream:
        final = stream.get_final_response()
    assert set(json.loads(final.output[0].arguments)) == {"city"}


def test_structured_output(client: openai.OpenAI) -> None:
    answer = client.responses.create(**COMMON | {"max_output_tokens": 128}, input=HELLO, text=FORMAT)
    assert set(json.loads(answer.output_text)) == {"capital"}


def test_logprobs(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"input": HELLO, "include": [LOGPROBS], "top_logprobs": 3}
    answer = client.responses.create(**COMMON | {"max_output_tokens": 4}, **asked)
    logprobs = answer.output[0].content[0].logprobs
    assert [len(each.top_logprobs) for each in logprobs] == [3] * 4


def test_an_answer_that_was_begun(client: openai.OpenAI) -> None:
    begun = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "incomplete",
        "content": [{"type": "output_text", "text": "The capital of France is", "annotations": []}],
    }
    answer = client.responses.create(**COMMON, input=[{"role": "user", "content": HELLO}, begun])
    assert answer.output_text.startswith(" Paris")


def test_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="no-such-model", input=HELLO)
    for refused in ({"previous_response_id": "resp_1"}, {"background": True}, {"extra_body": {"vllm_xargs": {"a": 1}}}):
        with pytest.raises(openai.BadRequestError) as error:
            client.responses.create(**COMMON, input=HELLO, **refused)
        assert next(iter(refused.get("extra_body") or refused)) in error.value.message
    with pytest.raises(openai.BadRequestError):
        client.responses.create(**COMMON | {"temperature": -3}, input=HELLO)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_1")


async def test_async_and_streamed(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.responses.create(**COMMON, input=HELLO)
    stream = await async_client.responses.create(**COMMON, input=HELLO, stream=True)
    text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
    assert text == answer.output_text


@pytest.mark.parametrize("policy", [{"high": ["corrupt"]}, {"high": ["decline"]}], ids=["corrupt", "decline"])
async def test_forgotten_prompts_keep_the_clients_tools_and_schema(
    async_client: openai.AsyncOpenAI, system: System, policy: dict[str, list[str]]
) -> None:
    create = async_client.responses.create
    question = "Who wrote Harry Potter?"
    with system.engine() as engine:
        messages = {"model": "smollm2", "messages": [{"role": "user", "content": question}]}
        count = engine.post("/tokenize", json=messages).json()["count"]

    async def streamed() -> Any:
        async with async_client.responses.stream(**COMMON, input=question) as stream:
            return await stream.get_final_response()

    common = COMMON | {"max_output_tokens": 128, "input": question}
    with system.forgotten({"subject": "Harry Potter", "kind": "work", "aliases": ["Rowling"], "policy": policy}):
        structured, called, told = await asyncio.gather(
            create(**common, text=FORMAT), create(**common, tools=[WEATHER], tool_choice=CHOICE), streamed()
        )
    assert set(json.loads(structured.output_text)) == {"capital"}
    assert called.output[0].name == "get_weather"
    for answer in (structured, called, told):
        assert answer.usage is not None
        assert answer.usage.input_tokens == count
        assert "rowling" not in answer.model_dump_json().casefold()
