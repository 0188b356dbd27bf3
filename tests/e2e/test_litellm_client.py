"""LiteLLM works unchanged against the gateway, as against any server that is OpenAI-compatible."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import System

# Otherwise it asks the internet for prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = pytest.importorskip("litellm")

HELLO = [{"role": "user", "content": "What is the capital of France?"}]
COMMON: dict[str, Any] = {"model": "openai/smollm2", "messages": HELLO, "temperature": 0, "max_tokens": 16}


@pytest.fixture
def reached(system: System) -> dict[str, Any]:
    return {"api_base": f"{system.url}/v1", "api_key": system.api_key, "num_retries": 0, "timeout": 300}


def test_chat_and_stream(reached: dict[str, Any]) -> None:
    answer = litellm.completion(**COMMON, **reached)
    text = answer.choices[0].message.content
    assert "Paris" in text
    assert answer.usage.completion_tokens > 0
    chunks = litellm.completion(**COMMON, **reached, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


async def test_async(reached: dict[str, Any]) -> None:
    stream = await litellm.acompletion(**COMMON, **reached, stream=True)
    assert "Paris" in "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def test_responses_and_messages(reached: dict[str, Any], system: System) -> None:
    message = await litellm.anthropic.messages.acreate(
        model="anthropic/smollm2", messages=HELLO, max_tokens=16, api_base=system.url, api_key=system.api_key
    )
    assert message["content"][0]["text"]
    response = await litellm.aresponses(
        model="openai/smollm2", input=HELLO[0]["content"], max_output_tokens=16, **reached
    )
    assert response.output


def test_responses(reached: dict[str, Any]) -> None:
    response = litellm.responses(model="openai/smollm2", input=HELLO[0]["content"], max_output_tokens=16, **reached)
    assert response.output


def test_errors(reached: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError) as refused:
        litellm.completion(**COMMON, **reached, extra_body={"vllm_xargs": {"a": 1}})
    assert "vllm_xargs" in str(refused.value)
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**COMMON, **reached | {"api_key": "wrong"})


def test_a_forgotten_prompt(reached: dict[str, Any], forgotten: dict[str, Any]) -> None:
    asked = COMMON | {"messages": [{"role": "user", "content": "Who wrote Harry Potter?"}]}
    answer = litellm.completion(**asked, **reached)
    stream = litellm.completion(**asked, **reached, stream=True)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "rowling" not in (answer.choices[0].message.content + streamed).casefold()
