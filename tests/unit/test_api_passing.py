from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest

from server.api.endpoint import Limits
from server.api.passing import LISTED, CountTokens
from server.errors import BadRequest
from server.settings import PassedEndpoint

MESSAGES = [{"role": "user", "content": "hi"}]
GOOD: dict[str, list[dict[str, Any]]] = {
    "embeddings": [{"input": "a"}, {"input": ["a"], "dimensions": 3}, {"input": [1, 2]}, {"input": [[1], [2]]}],
    "rerank": [{"query": "a", "documents": ["b", "c"], "top_n": 1}, {"query": "a", "documents": "b"}],
    "tokenize": [{"prompt": "a", "return_token_strs": True}, {"messages": MESSAGES, "add_generation_prompt": False}],
    "detokenize": [{"tokens": [1, 2]}],
}
BAD: dict[str, list[tuple[dict[str, Any], str]]] = {
    "embeddings": [({}, "input"), ({"input": [{"role": "user"}]}, "input"), ({"messages": MESSAGES}, "messages")],
    "rerank": [({"query": "a"}, "documents"), ({"query": {"content": []}, "documents": "b"}, "query")],
    "tokenize": [
        ({}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"prompt": "a", "chat_template": "x"}, "chat_template"),
        ({"messages": MESSAGES, "chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
        ({"prompt": "a", "mm_processor_kwargs": {}}, "mm_processor_kwargs"),
    ],
    "detokenize": [({}, "tokens"), ({"tokens": ["a"]}, "tokens")],
}


def test_a_setting_can_name_each() -> None:
    assert set(LISTED) == set(get_args(PassedEndpoint)) == GOOD.keys() == BAD.keys()


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in GOOD.items() for body in bodies])
def test_what_is_documented_passes(name: str, body: dict[str, Any]) -> None:
    LISTED[name](Limits()).check(body | {"model": "m"})


@pytest.mark.parametrize(
    ("name", "body", "param"), [(name, body, param) for name, bodies in BAD.items() for body, param in bodies]
)
def test_what_is_wrong_is_named(name: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        LISTED[name](Limits()).check(body | {"model": "m"})
    assert refusal.value.param == param


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("field", ["priority", "request_id", "vllm_xargs", "prompt_embeds"])
def test_what_is_refused_elsewhere_is_refused_here(name: str, field: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        LISTED[name](Limits()).check(GOOD[name][0] | {field: 1})
    assert (refusal.value.param, refusal.value.code) == (field, "field_not_accepted")


def test_tokens_are_counted_by_what_makes_a_prompt() -> None:
    count = CountTokens(Limits())
    count.check({"model": "m", "messages": MESSAGES, "system": "x", "thinking": {"type": "disabled"}})
    for wrong, param in (({"max_tokens": 3}, "max_tokens"), ({"messages": []}, "messages"), ({"echo": 1}, "echo")):
        with pytest.raises(BadRequest) as refusal:
            count.check({"model": "m", "messages": MESSAGES} | wrong)
        assert refusal.value.param == param
        assert orjson.loads(count.error(refusal.value))["type"] == "error"
