"""One request and one answer of each endpoint, to describe the API with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.api.body import Body


@dataclass(frozen=True, slots=True)
class Example:
    """What an endpoint is for, and an exchange with it."""

    summary: str
    request: Body
    answer: Body
    events: tuple[str, ...] = ()
    """How the answer begins when it is streamed."""


_MODEL: Final = "smollm2"
_QUESTION: Final = "What is the capital of France?"
_ANSWER: Final = "The capital of France is Paris."
_ASKED: Final = [{"role": "user", "content": _QUESTION}]
_CREATED: Final = 1_795_305_600

EXAMPLES: Final[Mapping[str, Example]] = {
    "chat": Example(
        "Answer a chat",
        {"model": _MODEL, "messages": _ASKED, "max_tokens": 16, "temperature": 0},
        {
            "id": "chatcmpl-8f2b",
            "object": "chat.completion",
            "created": _CREATED,
            "model": _MODEL,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": _ANSWER}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 37, "completion_tokens": 8, "total_tokens": 45},
        },
        (
            'data: {"id":"chatcmpl-8f2b","object":"chat.completion.chunk","created":1795305600,"model":"smollm2",'
            '"choices":[{"index":0,"delta":{"role":"assistant","content":"The"},"finish_reason":null}]}',
        ),
    ),
    "completions": Example(
        "Continue a text",
        {"model": _MODEL, "prompt": "The capital of France is", "max_tokens": 4},
        {
            "id": "cmpl-8f2b",
            "object": "text_completion",
            "created": _CREATED,
            "model": _MODEL,
            "choices": [{"index": 0, "text": " Paris.", "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        },
        (
            'data: {"id":"cmpl-8f2b","object":"text_completion","created":1795305600,"model":"smollm2",'
            '"choices":[{"index":0,"text":" Paris","logprobs":null,"finish_reason":null}]}',
        ),
    ),
    "responses": Example(
        "Answer a conversation, as OpenAI's Responses API does",
        {"model": _MODEL, "input": _QUESTION, "max_output_tokens": 16},
        {
            "id": "resp_8f2b",
            "object": "response",
            "created_at": _CREATED,
            "status": "completed",
            "model": _MODEL,
            "output": [
                {
                    "id": "msg_8f2b",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": _ANSWER, "annotations": []}],
                }
            ],
            "usage": {"input_tokens": 37, "output_tokens": 8, "total_tokens": 45},
        },
        (
            "event: response.output_text.delta",
            'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_8f2b","output_index":0,'
            '"content_index":0,"delta":"The","logprobs":[]}',
        ),
    ),
    "messages": Example(
        "Answer a chat, as Anthropic's Messages API does",
        {"model": _MODEL, "messages": _ASKED, "max_tokens": 16},
        {
            "id": "msg_8f2b",
            "type": "message",
            "role": "assistant",
            "model": _MODEL,
            "content": [{"type": "text", "text": _ANSWER}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 37, "output_tokens": 8},
        },
        (
            "event: content_block_delta",
            'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"The"}}',
        ),
    ),
    "count_tokens": Example(
        "Count a chat's tokens, as Anthropic's Messages API does",
        {"model": _MODEL, "messages": _ASKED},
        {"input_tokens": 37},
    ),
    "embeddings": Example(
        "Embed texts; where UNREMEMBER_PASS_ENDPOINTS names it",
        {"model": "minilm", "input": ["a text", "another"]},
        {
            "object": "list",
            "model": "minilm",
            "data": [
                {"object": "embedding", "index": 0, "embedding": [0.01, -0.02]},
                {"object": "embedding", "index": 1, "embedding": [0.03, 0.01]},
            ],
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        },
    ),
    "rerank": Example(
        "Order texts by their relevance; where UNREMEMBER_PASS_ENDPOINTS names it",
        {"model": "reranker", "query": "the sea", "documents": ["a text on waves", "a text on bread"]},
        {
            "id": "rerank-8f2b",
            "model": "reranker",
            "results": [
                {"index": 0, "document": {"text": "a text on waves"}, "relevance_score": 0.97},
                {"index": 1, "document": {"text": "a text on bread"}, "relevance_score": 0.02},
            ],
            "usage": {"total_tokens": 14},
        },
    ),
    "tokenize": Example(
        "Turn a text or a chat into tokens; where UNREMEMBER_PASS_ENDPOINTS names it",
        {"model": _MODEL, "prompt": "a text"},
        {"count": 2, "max_model_len": 4096, "tokens": [81, 1694], "token_strs": None},
    ),
    "detokenize": Example(
        "Turn tokens into a text; where UNREMEMBER_PASS_ENDPOINTS names it",
        {"model": _MODEL, "tokens": [81, 1694]},
        {"prompt": "a text"},
    ),
}
"""By the endpoints' names."""
