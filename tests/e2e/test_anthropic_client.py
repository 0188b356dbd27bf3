"""Anthropic's official client works unchanged against the gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.conftest import System

HELLO: Any = [{"role": "user", "content": "What is the capital of France?"}]
# Its newest models take no temperature, so the client has no parameter for it.
COMMON: dict[str, Any] = {"model": "smollm2", "max_tokens": 16, "extra_body": {"temperature": 0}}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "strict": True,
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 16}},
        "required": ["city"],
    },
}
USE: dict[str, Any] = {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}, "max_tokens": 128}


@pytest.fixture
def client(system: System) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=system.url, api_key=system.api_key, max_retries=0, timeout=300) as made:
        yield made


@pytest.fixture
async def async_client(system: System) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=system.url, auth_token=system.api_key, max_retries=0, timeout=300
    ) as made:
        yield made


def test_a_message(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**COMMON, messages=HELLO, system="Answer in a sentence.")
    assert "Paris" in answer.content[0].text
    assert answer.stop_reason in {"end_turn", "max_tokens"}
    assert answer.usage.output_tokens > 0


def test_a_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**COMMON, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in text
    assert final.content[0].text == text
    assert final.usage.output_tokens > 0


def test_tools(client: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.messages.create(**COMMON | USE, messages=asked)
    (block,) = answer.content
    assert (block.type, block.name, answer.stop_reason) == ("tool_use", "get_weather", "tool_use")
    assert set(block.input) == {"city"}
    with client.messages.stream(**COMMON | USE, messages=asked) as stream:
        (streamed,) = stream.get_final_message().content
    assert set(streamed.input) == {"city"}
    result = {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "sunny"}]}
    turns: Any = [*asked, {"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**COMMON, messages=turns, tools=[WEATHER]).content


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="smollm2", messages=HELLO, system="Be brief.", tools=[WEATHER])
    answer = client.messages.create(**COMMON, messages=HELLO, system="Be brief.", tools=[WEATHER])
    assert counted.input_tokens == answer.usage.input_tokens


def test_errors(client: anthropic.Anthropic, system: System) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**COMMON | {"model": "no-such-model"}, messages=HELLO)
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(**COMMON | {"extra_body": {"vllm_xargs": {"a": 1}}}, messages=HELLO)
    assert refused.value.body["type"] == "error"
    assert "vllm_xargs" in refused.value.body["error"]["message"]
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}}
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**COMMON, messages=[{"role": "user", "content": [image]}])
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(**COMMON | {"extra_body": {"temperature": -3}}, messages=HELLO)
    with (
        anthropic.Anthropic(base_url=system.url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**COMMON, messages=HELLO)


async def test_async_and_streamed(async_client: anthropic.AsyncAnthropic) -> None:
    answer = await async_client.messages.create(**COMMON, messages=HELLO)
    async with async_client.messages.stream(**COMMON, messages=HELLO) as stream:
        text = "".join([each async for each in stream.text_stream])
    assert text == answer.content[0].text


@pytest.mark.parametrize("policy", [{"high": ["corrupt"]}, {"high": ["decline"]}], ids=["corrupt", "decline"])
async def test_forgotten_prompts_keep_the_clients_tools_and_count(
    async_client: anthropic.AsyncAnthropic, system: System, policy: dict[str, list[str]]
) -> None:
    messages = async_client.messages
    question: Any = [{"role": "user", "content": "Who wrote Harry Potter?"}]

    async def counted() -> int:
        return (await messages.count_tokens(model="smollm2", messages=question)).input_tokens

    async def streaming() -> Any:
        async with messages.stream(**COMMON, messages=question) as stream:
            return await stream.get_final_message()

    before = await counted()
    with system.forgotten({"subject": "Harry Potter", "kind": "work", "aliases": ["Rowling"], "policy": policy}):
        after, told, called, streamed = await asyncio.gather(
            counted(),
            messages.create(**COMMON, messages=question),
            messages.create(**COMMON | USE, messages=question),
            streaming(),
        )
    assert before == after
    assert called.content[0].name == "get_weather"
    for answer in (told, called, streamed):
        assert answer.usage.input_tokens == before
        assert "rowling" not in answer.model_dump_json().casefold()
