"""Streams of responses and messages that are rolled back: the client reads one consistent story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from server.api.answer import REASONING, TEXT, TOKENS, TOOL
from server.api.chat import ChatCompletions
from server.api.endpoint import Limits
from server.api.messages_answer import Message, MessageEvents
from server.api.responses_answer import Response
from server.api.responses_stream import ResponseEvents
from tests.fakes.clients import alternatives, events, reason, told
from tests.fakes.wire import MESSAGES, RESPONSES, Said, Wire

if TYPE_CHECKING:
    from server.api.answer import AnswerStream

SCORED = {"include": ["message.output_text.logprobs"], "top_logprobs": 3}


def chunks(path: str, said: Said, number: int = 1, **fields: Any) -> list[bytes]:
    return Wire(path, {"model": "m"} | fields, said, prompt=10, number=number).chunks()


def renumbered(raws: list[bytes]) -> list[bytes]:
    """Events of a response with their numbers in order."""
    told_events = []
    for number, raw in enumerate(raws):
        event = json.loads(raw.partition(b"data: ")[2])
        event["sequence_number"] = number
        told_events.append(b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n")
    return told_events


def leave(stream: AnswerStream, raws: list[bytes]) -> list[bytes]:
    for raw in raws:
        stream.read(raw)
        stream.left(raw)
    return raws


def adopted(stream: AnswerStream, reader: AnswerStream, raws: list[bytes], *, stop: bool = False) -> list[bytes]:
    """What leaves of a continuation, as the line hands it over."""
    out: list[bytes] = []
    closing: list[bytes] = []
    for raw in raws:
        event = reader.read(raw)
        if event.closing:
            closing.append(stream.close(raw))
        elif event.ended or (event.pieces and not stop):
            out += stream.adopt(raw, 0, stop=stop)
    for raw in out:
        stream.left(raw)
    return out + closing


REASONING_EVENTS: list[dict[str, Any]] = [
    {
        "item": {"id": "rs_1", "summary": [], "type": "reasoning", "content": None, "status": "in_progress"},
        "output_index": 0,
        "type": "response.output_item.added",
    },
    {
        "content_index": 0,
        "item_id": "rs_1",
        "output_index": 0,
        "part": {"text": "", "type": "reasoning_text"},
        "type": "response.content_part.added",
    },
    *(
        {
            "content_index": 0,
            "delta": each,
            "item_id": "rs_1",
            "output_index": 0,
            "type": "response.reasoning_text.delta",
        }
        for each in ("They", " ask")
    ),
]


@pytest.mark.parametrize("stream", [ResponseEvents(), MessageEvents()])
def test_a_comment_in_a_stream_passes(stream: AnswerStream) -> None:
    assert stream.read(b": keep-alive").raw == b": keep-alive"
    stream.left(b": keep-alive")


class TestResponses:
    def test_what_is_said_again_is_not_read_again(self) -> None:
        stream = ResponseEvents()
        pieces = [piece for raw in chunks(RESPONSES, Said(["It", " rained"])) for piece in stream.read(raw).pieces]
        assert "".join(piece.text for piece in pieces if piece.channel == TEXT) == "It rained"
        calling = ResponseEvents()
        raws = chunks(RESPONSES, Said(['{"a":', "1}"], call="f"))
        texts: dict[str, str] = {}
        for piece in (piece for raw in raws for piece in calling.read(raw).pieces):
            texts[piece.channel] = texts.get(piece.channel, "") + piece.text
        assert texts == {f"{TOOL} 0 name": "f", f"{TOOL} 0 arguments": '{"a":1}'}

    @pytest.mark.parametrize("kind", ["output_text.done", "content_part.done", "output_item.done", "completed"])
    def test_what_is_said_at_the_end_alone_is_read(self, kind: str) -> None:
        stream = ResponseEvents()
        found = ""
        for raw in chunks(RESPONSES, Said(["It", " rained"])):
            if raw.startswith(b"event: response." + kind.encode()):
                raw = raw.replace(b"It rained", b"It poured")
            found += "".join(piece.text for piece in stream.read(raw).pieces if piece.channel == TEXT)
        assert found == "It rained" + "It poured"

    @pytest.mark.parametrize("left", range(2, 6))
    @pytest.mark.parametrize("scored", [False, True])
    def test_a_text_goes_on_wherever_it_was_cut(self, left: int, scored: bool) -> None:
        fields = SCORED if scored else {}
        stream = ResponseEvents()
        out = leave(stream, chunks(RESPONSES, Said(["It", " rained", " a lot"]), **fields)[:left])
        stream.roll_back(0, {}, 2)
        other = Said([" and", " snowed"], "length")
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, other, 2, instructions="x", **fields))
        raw = b"".join(out)
        text = "".join(["It", " rained", " a lot"][: max(left - 4, 0)])
        assert told(RESPONSES, raw) == text + " and snowed"
        assert reason(RESPONSES, raw) == "length"
        last = events(RESPONSES, raw)[-1]["response"]
        assert (last["id"], last["instructions"]) == ("resp_1", None)
        assert last["usage"]["output_tokens"] == 4
        if scored:
            tokens = [each["token"] for each in last["output"][0]["content"][0]["logprobs"]]
            assert "".join(tokens) == text + " and snowed"
            assert set(alternatives(RESPONSES, raw)) == {3}

    def test_it_ends_as_a_stop(self) -> None:
        stream = ResponseEvents()
        out = leave(stream, chunks(RESPONSES, Said(["It", " rained"]))[:5])
        stream.roll_back(0, {}, 1)
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, Said(["Sw"], "length"), 2), stop=True)
        assert (told(RESPONSES, b"".join(out)), reason(RESPONSES, b"".join(out))) == ("It", "stop")

    def test_it_ends_as_a_stop_before_anything_was_said(self) -> None:
        stream = ResponseEvents()
        out = leave(stream, chunks(RESPONSES, Said(["It"]))[:2])
        stream.roll_back(0, {}, 0)
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, Said(["Sw"], "length"), 2), stop=True)
        assert events(RESPONSES, b"".join(out))[-1]["response"]["output"] == []

    def test_a_call_follows_the_text_that_is_out(self) -> None:
        stream = ResponseEvents()
        out = leave(stream, chunks(RESPONSES, Said(["It", " rained"]))[:5])
        stream.roll_back(0, {}, 1)
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, Said(["{", "}"], call="f"), 2))
        raw = b"".join(out)
        assert told(RESPONSES, raw) == "It"
        message, call = events(RESPONSES, raw)[-1]["response"]["output"]
        assert (message["content"][0]["text"], call["arguments"]) == ("It", "{}")

    def test_a_thought_that_has_begun_is_ended_where_text_follows(self) -> None:
        stream = ResponseEvents()
        begun = chunks(RESPONSES, Said([]))[:2] + [
            b"event: x\ndata: " + orjson.dumps(event | {"sequence_number": 0}) for event in REASONING_EVENTS
        ]
        out = leave(stream, renumbered(begun))
        assert [piece.channel for piece in stream.read(out[-1]).pieces] == [REASONING]
        stream.roll_back(0, {}, 0)
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, Said(["It", " rained"]), 2))
        found = events(RESPONSES, b"".join(out))
        assert told(RESPONSES, b"".join(out)) == "It rained"
        thought, message = found[-1]["response"]["output"]
        assert (thought["type"], thought["content"][0]["text"], thought["id"]) == ("reasoning", "They ask", "rs_1")
        assert message["type"] == "message"
        assert {"response.reasoning_text.done", "response.output_text.done"} <= {event["type"] for event in found}

    def test_it_is_cut_twice(self) -> None:
        stream = ResponseEvents()
        out = leave(stream, chunks(RESPONSES, Said(["It", " rained"]))[:5])
        stream.roll_back(0, {}, 1)
        dropped = adopted(stream, ResponseEvents(), chunks(RESPONSES, Said([" and", " so"]), 2)[:5])
        out += dropped
        stream.roll_back(0, {}, 2)
        out += adopted(stream, ResponseEvents(), chunks(RESPONSES, Said([" on"]), 3))
        assert told(RESPONSES, b"".join(out)) == "It and on"

    def test_an_event_that_reports_a_failure(self) -> None:
        assert ResponseEvents().read(b'event: error\ndata: {"type":"error","message":"x"}').failed

    def test_a_whole_answer_is_cut_and_replaced(self) -> None:
        wire = Wire(RESPONSES, {"model": "m"} | SCORED, Said(["It", " rained"], "length"), prompt=10)
        answer = Response(wire.whole())
        assert {piece.channel: piece.text for piece in answer.pieces()} == {TEXT: "It rained", TOKENS: "It rained"}
        cut = answer.cut(0, 4)
        assert (told(RESPONSES, cut.raw), reason(RESPONSES, cut.raw)) == ("It r", "stop")
        (item,) = json.loads(cut.raw)["output"]
        assert [each["token"] for each in item["content"][0]["logprobs"]] == ["It"]
        assert json.loads(answer.cut(0, 0).raw)["output"] == []
        other = Response(Wire(RESPONSES, {"model": "m"}, Said(["So"]), prompt=99, number=2).whole())
        both = json.loads(answer.replace(0, other).raw)
        assert (both["id"], both["output"][0]["content"][0]["text"], both["status"]) == ("resp_1", "So", "completed")
        struck = answer.strike(lambda choice, before, token: (before, token) == ("It", " Rowling"), 2)
        first, second = json.loads(struck.raw)["output"][0]["content"][0]["logprobs"]
        assert [each["token"] for each in first["top_logprobs"]] == ["It", " Rowling"]
        assert [each["token"] for each in second["top_logprobs"]] == [" rained", " Tolkien"]


def chat(said: Said, usage: int, reasoning: str = "") -> list[bytes]:
    """The chunks of a chat that continues a message."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning": reasoning}] if reasoning else []
    if said.call:
        function = {"name": said.call, "arguments": ""}
        deltas.append({"tool_calls": [{"index": 0, "id": "call-2", "type": "function", "function": function}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": token}}]} for token in said.tokens]
    else:
        deltas += [{"content": token} for token in said.tokens]
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": said.reason, "stop_reason": None})
    bodies = [{"id": "c", "choices": [choice]} for choice in choices]
    bodies.append({"id": "c", "choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": usage}})
    return [b"data: " + orjson.dumps(body) + b"\n\n" for body in bodies] + [b"data: [DONE]\n\n"]


class TestMessages:
    reader = ChatCompletions(Limits())

    @pytest.mark.parametrize("left", range(1, 5))
    def test_a_text_goes_on_wherever_it_was_cut(self, left: int) -> None:
        stream = MessageEvents()
        out = leave(stream, chunks(MESSAGES, Said(["It", " rained", " a lot"]))[:left])
        stream.roll_back(0, {}, 2)
        out += adopted(stream, self.reader.stream({}), chat(Said([" and", " snowed"], "length"), 2))
        raw = b"".join(out)
        assert told(MESSAGES, raw) == "".join(["It", " rained", " a lot"][: max(left - 2, 0)]) + " and snowed"
        assert reason(MESSAGES, raw) == "length"
        assert events(MESSAGES, raw)[-2]["usage"] == {"input_tokens": 50, "output_tokens": 4}
        assert {event["message"]["id"] for event in events(MESSAGES, raw) if "message" in event} == {"chatcmpl-1"}

    def test_it_ends_as_a_stop(self) -> None:
        stream = MessageEvents()
        out = leave(stream, chunks(MESSAGES, Said(["It", " rained"]))[:3])
        stream.roll_back(0, {}, 1)
        out += adopted(stream, MessageEvents(), chunks(MESSAGES, Said(["Sw"], "length"), 2), stop=True)
        assert (told(MESSAGES, b"".join(out)), reason(MESSAGES, b"".join(out))) == ("It", "stop")
        assert events(MESSAGES, b"".join(out))[-2]["usage"]["output_tokens"] == 2

    def test_a_call_follows_the_text_that_is_out(self) -> None:
        stream = MessageEvents()
        out = leave(stream, chunks(MESSAGES, Said(["It", " rained"]))[:3])
        stream.roll_back(0, {}, 1)
        out += adopted(stream, self.reader.stream({}), chat(Said(["{", "}"], "tool_calls", call="f"), 2))
        found = events(MESSAGES, b"".join(out))
        assert told(MESSAGES, b"".join(out)) == "It"
        assert [event["content_block"]["type"] for event in found if "content_block" in event] == ["text", "tool_use"]
        assert "".join(event["delta"].get("partial_json", "") for event in found if "delta" in event) == "{}"
        assert found[-2]["delta"]["stop_reason"] == "tool_use"

    def test_a_thought_comes_in_a_block_of_its_own(self) -> None:
        stream = MessageEvents()
        out = leave(stream, chunks(MESSAGES, Said(["It"]))[:1])
        stream.roll_back(0, {}, 0)
        out += adopted(stream, self.reader.stream({}), chat(Said(["So"]), 3, reasoning="They ask"))
        found = events(MESSAGES, b"".join(out))
        assert [event["content_block"]["type"] for event in found if "content_block" in event] == ["thinking", "text"]
        kinds = [event["delta"]["type"] for event in found if event["type"] == "content_block_delta"]
        assert kinds == ["thinking_delta", "signature_delta", "text_delta"]

    def test_the_reason_to_stop_is_the_apis_own(self) -> None:
        stream = MessageEvents()
        leave(stream, chunks(MESSAGES, Said(["It"]))[:3])
        stream.roll_back(0, {}, 1)
        raws = chat(Said([" so"]), 1)
        raws[-3] = raws[-3].replace(b'"stop_reason":null', b'"stop_reason":"END"')
        last = json.loads(adopted(stream, self.reader.stream({}), raws)[-2].partition(b"data: ")[2])
        assert last["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}

    def test_a_whole_answer_is_cut_and_replaced(self) -> None:
        answer = Message(Wire(MESSAGES, {"model": "m"}, Said(["It", " rained"], "length"), prompt=10).whole())
        cut = answer.cut(0, 4)
        assert (told(MESSAGES, cut.raw), reason(MESSAGES, cut.raw)) == ("It r", "stop")
        assert json.loads(answer.cut(0, 0).raw)["content"] == [{"type": "text", "text": ""}]
        sequenced = Message(answer.raw.replace(b'"max_tokens"', b'"stop_sequence","stop_sequence":"x"'))
        assert "stop_sequence" not in json.loads(sequenced.cut(0, 4).raw)
        other = Message(Wire(MESSAGES, {"model": "m"}, Said(["So"]), prompt=99, number=2).whole())
        both = json.loads(answer.replace(0, other).raw)
        assert (both["id"], both["content"][0]["text"], both["stop_reason"]) == ("chatcmpl-1", "So", "end_turn")
        assert both["usage"]["input_tokens"] == 10

    def test_a_call_is_read_by_name_and_arguments(self) -> None:
        answer = Message(Wire(MESSAGES, {"model": "m"}, Said(['{"a":"é"}'], call="f"), prompt=1).whole())
        assert {piece.channel: piece.text for piece in answer.pieces()} == {
            f"{TOOL} 0 name": "f",
            f"{TOOL} 0 arguments": '{"a":"é"}',
        }
