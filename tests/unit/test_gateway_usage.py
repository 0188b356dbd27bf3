from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.usage import ChoicesUsage


@pytest.mark.parametrize(
    "event",
    [
        b"data: [DONE]",
        b": keep-alive",
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}',
        b'data: {"choices":[],"usage":null}',
        rb'data: {"choices":[{"index":0,"delta":{"content":"{\"usage\":{\"prompt_tokens\":1}}"}}]}',
        b"event: x",
        b"",
    ],
)
def test_an_event_without_usage_stays_as_it_is(event: bytes) -> None:
    assert ChoicesUsage([7]).event(event) == event


def test_a_running_count_is_that_of_the_choices_prompt() -> None:
    usage = ChoicesUsage([7, 11], choices=2)

    def count(index: int) -> int:
        chunk = {
            "choices": [{"index": index}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
        }
        found = orjson.loads(usage.event(b"data: " + orjson.dumps(chunk))[6:])["usage"]
        assert found["total_tokens"] == found["prompt_tokens"] + 3
        return int(found["prompt_tokens"])

    assert [count(index) for index in range(4)] == [7, 7, 11, 11]


def test_cached_tokens_are_never_more_than_the_client_could_have() -> None:
    given = {"prompt_tokens": 90, "total_tokens": 91, "completion_tokens": 1}
    body = {"usage": given | {"prompt_tokens_details": {"cached_tokens": 64}}}
    usage = orjson.loads(ChoicesUsage([10]).whole(orjson.dumps(body)))["usage"]
    assert usage == {
        "prompt_tokens": 10,
        "total_tokens": 11,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 9},
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FORMS: tuple[dict[str, Any], ...] = (
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (",", ":")},
    {"indent": 2},
)


@given(
    before=st.dictionaries(st.text(max_size=5) | st.just("usage "), VALUES, max_size=3),
    after=st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    form=st.sampled_from(FORMS),
)
def test_not_a_byte_beside_the_figures_changes(before: dict[str, Any], after: dict[str, Any], form: Any) -> None:
    before, after = ({f"x{name}": value for name, value in some.items()} for some in (before, after))

    def rendered(prompt: int) -> bytes:
        usage = {"prompt_tokens": prompt, "total_tokens": prompt + 3, "completion_tokens": 3, "p": [1e-05, "é"]}
        answer = {"a": '"usage":{"prompt_tokens":1}'} | before | {"usage": usage} | after
        return json.dumps(answer, **form).encode("utf-8", "replace")

    assert ChoicesUsage([7]).whole(rendered(90)) == rendered(7)
    assert ChoicesUsage([7]).event(b"data: " + rendered(90)) == b"data: " + rendered(7)


@pytest.mark.parametrize("number", [b"1e-05", b"0.00001", b"-1.19e-07", b"-1.19e-7", b"1.0", b"-0.0"])
def test_a_number_stays_as_it_is_written(number: bytes) -> None:
    answer = b'{"logprob":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":1}}'
    assert ChoicesUsage([7]).whole(answer % (number, 90, 91)) == answer % (number, 7, 8)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"usage":', b'{"usage":{"prompt_tokens":1', b"\xff"])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|Expecting|codec"):
        ChoicesUsage([7]).whole(body)
