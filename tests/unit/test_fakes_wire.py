"""The fakes write answers as vLLM 0.32 wrote them: `tests/fakes/recorded` holds what it sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.wire import MESSAGES, RESPONSES, Said, Wire

RECORDED = Path(__file__).parent.parent / "fakes" / "recorded"
FIGURES = ("id", "item_id", "call_id", "created_at", "logprob", "output_tokens", "total_tokens")
TOOL = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 16}},
        "required": ["city"],
    },
    "strict": True,
    "type": "function",
    "allowed_callers": None,
    "async": None,
    "defer_loading": None,
    "description": "Current weather of a city",
    "output_schema": None,
}
CHOICE = {"name": "get_weather", "type": "function"}
SCORED = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 3}
CAPITAL = ["The", " capital", " of", " France", " is", " Paris"]
CALL = ["{", '\n    "', "c", "it", "y", '"', " :", ' "', "Paris", '"', "\n}"]
CASES: dict[str, tuple[str, dict[str, Any], Said]] = {
    "response": (RESPONSES, {"max_output_tokens": 12}, Said([*CAPITAL, "."])),
    "response-stream": (RESPONSES, {"max_output_tokens": 6}, Said(CAPITAL, "length")),
    "response-call-stream": (
        RESPONSES,
        {"max_output_tokens": 64, "tools": [TOOL], "tool_choice": CHOICE},
        Said(CALL, call="get_weather"),
    ),
    "response-logprobs-stream": (RESPONSES, SCORED, Said(CAPITAL[:3], "length")),
    "message": (MESSAGES, {}, Said([*CAPITAL, "."])),
    "message-stream": (MESSAGES, {}, Said(CAPITAL, "length")),
    "message-call-stream": (MESSAGES, {}, Said(CALL, call="get_weather")),
}


def shaped(value: object, name: str = "") -> object:
    """JSON with what differs between any two answers left out, and the order of members kept."""
    if name in FIGURES:
        return None
    if isinstance(value, dict):
        return [(key, shaped(inner, key)) for key, inner in value.items()]
    if isinstance(value, list):
        # Which other tokens were likely is no matter of form.
        return [shaped(inner) for inner in value] if name != "top_logprobs" else len(value)
    return value


@pytest.mark.parametrize("case", CASES)
def test_a_fake_answer_is_written_as_vllm_wrote_it(case: str) -> None:
    path, fields, said = CASES[case]
    wire = Wire(path, {"model": "smollm2"} | fields, said, prompt=37)
    recorded = (RECORDED / f"{case}.txt").read_bytes()
    if not case.endswith("stream"):
        assert shaped(json.loads(wire.whole())) == shaped(json.loads(recorded))
        return
    ours, theirs = b"".join(wire.chunks()).split(b"\n\n"), recorded.split(b"\n\n")
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        name, _, data = one.partition(b"\ndata: ")
        other_name, _, other_data = other.partition(b"\ndata: ")
        assert name == other_name
        assert shaped(json.loads(data or b"0")) == shaped(json.loads(other_data or b"0"))
