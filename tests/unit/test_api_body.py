from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.body import parse, replace, write
from server.errors import BadRequest

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_what_is_written_is_what_was_read(value: dict[str, object]) -> None:
    assert parse(orjson.dumps(value), max_nesting=64) == value
    assert orjson.loads(write(value)) == value


def test_the_upstream_sees_the_value_that_was_inspected_of_a_duplicate_key() -> None:
    body = parse(b'{"model": "a", "echo": true, "model": "b"}', max_nesting=64)
    assert write(body) == b'{"model":"b","echo":true}'


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"null", b"{'a': 1}", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"\xff"],
)
def test_what_is_not_a_json_object_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw, max_nesting=64)


@pytest.mark.parametrize("depth", [1, 7, 8, 9, 500, 2_000])
def test_nesting_is_bounded(depth: int) -> None:
    raw = b'{"a":' * depth + b"1" + b"}" * depth
    if depth <= 8:
        assert parse(raw, max_nesting=8)
    else:
        with pytest.raises(BadRequest):
            parse(raw, max_nesting=8)


def test_many_brackets_that_do_not_nest_are_no_nesting() -> None:
    assert len(parse(b'{"a":[' + b"[],".join([b""] * 200) + b"[]]}", max_nesting=3)["a"]) == 200


def test_a_replacement_leaves_the_original_alone() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "old"}]}], "model": "m"}
    changed = replace(body, {("messages", 0, "content", 0, "text"): "new", ("model",): "n"})
    assert changed == {"messages": [{"role": "user", "content": [{"type": "text", "text": "new"}]}], "model": "n"}
    assert body["messages"][0]["content"][0]["text"] == "old"  # type: ignore[index]
