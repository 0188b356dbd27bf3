from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.gateway.usage import EventSplitter, Usage, join


@given(st.binary(), st.lists(st.integers(1, 12)))
def test_a_stream_cut_anywhere_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    splitter = EventSplitter()
    events: list[bytes] = []
    rest = stream
    for cut in cuts:
        events += splitter.feed(rest[:cut])
        rest = rest[cut:]
    events += splitter.feed(rest)
    assert join(events) + splitter.rest() == stream
    assert events == stream.split(b"\n\n")[:-1]


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
    assert Usage([7]).event(event) == event


def test_a_running_count_is_that_of_the_choices_prompt() -> None:
    usage = Usage([7, 11], choices=2)

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
    body = {"usage": {"prompt_tokens": 90, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 64}}}
    usage = orjson.loads(Usage([10]).whole(orjson.dumps(body)))["usage"]
    assert usage == {
        "prompt_tokens": 10,
        "total_tokens": 11,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 9},
    }
