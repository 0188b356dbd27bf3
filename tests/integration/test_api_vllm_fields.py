"""Every field of vLLM's own request classes is one that the gateway lets pass or refuses: none is merely unknown.

An unknown field is answered with a 400 like a refused one, but an operator may let it pass unread.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

from server.api.chat import ChatCompletions
from server.api.completions import Completions
from server.api.endpoint import Limits
from server.api.messages import Messages
from server.api.passing import CountTokens
from server.api.responses import Responses

if TYPE_CHECKING:
    from server.api.endpoint import Passage

pytest.importorskip("vllm")

PACKAGE = "vllm.entrypoints"
CLASSES = [
    (ChatCompletions, "openai.chat_completion.protocol", "ChatCompletionRequest"),
    (Completions, "openai.completion.protocol", "CompletionRequest"),
    (Responses, "openai.responses.protocol", "ResponsesRequest"),
    (Messages, "anthropic.protocol", "AnthropicMessagesRequest"),
    (CountTokens, "anthropic.protocol", "AnthropicCountTokensRequest"),
]


def fields(module: str, name: str) -> set[str]:
    """What a body may name, under each name that it may have."""
    found = set()
    for field, told in getattr(importlib.import_module(f"{PACKAGE}.{module}"), name).model_fields.items():
        found |= {field, told.alias} if isinstance(told.alias, str) else {field}
        # Several names at once, or a path into the body, would have to be looked at.
        assert told.validation_alias in (None, told.alias), field
    return found


@pytest.mark.parametrize(("codec", "module", "name"), CLASSES)
def test_every_field_of_vllm_is_let_pass_or_refused(codec: type[Passage], module: str, name: str) -> None:
    rules = codec(Limits()).rules
    known = fields(module, name)
    assert len(known) > 5
    assert sorted(known - {*rules.allowed, *rules.refused}) == []


@pytest.mark.parametrize(("codec", "module", "name"), CLASSES)
def test_what_carries_more_than_text_or_reaches_into_the_engine_is_refused(
    codec: type[Passage], module: str, name: str
) -> None:
    """Of vLLM's fields; by name, because nothing in their types tells."""
    around = {
        "allowed_token_ids",
        "chat_template",
        "ec_transfer_params",
        "echo",
        "enable_response_messages",
        "kv_transfer_params",
        "logprob_token_ids",
        "media_io_kwargs",
        "mm_payload",
        "mm_processor_kwargs",
        "previous_input_messages",
        "priority",
        "prompt_embeds",
        "prompt_logprobs",
        "request_id",
        "return_mm_kwargs",
        "return_prompt_text",
        "return_token_ids",
        "return_token_offsets",
        "return_tokens_as_token_ids",
        "routed_experts_prompt_start",
        "session_id",
        "truncate_prompt_tokens",
        "truncation_side",
        "use_beam_search",
        "vllm_xargs",
    }
    rules = codec(Limits(extra_fields=tuple(around))).rules
    asked = around & fields(module, name)
    assert sorted(asked - rules.refused.keys()) == []
    assert sorted(asked & rules.allowed.keys()) == []
