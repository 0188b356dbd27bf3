"""What goes upstream in place of a flagged request, and what the client sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from guards.act.decline import Form, neutral_text
from guards.engine.wire import from_xargs
from guards.scope import Action
from server.upstream.tokenizer import Renderer
from tests.fakes.gateway import NEEDLE, Wired, wired
from tests.fakes.tokenizer import CharacterTokenizer
from tests.fakes.upstream import MAX_MODEL_LEN, MODEL, FakeUpstream, Received, Reply, prompt_text
from tests.fakes.wire import GENERATING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.settings import Settings

ASKED = f"who is {NEEDLE}?"
NEUTRAL = neutral_text(ASKED)
CUT = [f"about {NEEDLE}.", "Who painted the", "Mona Lisa?"]


@pytest.fixture
async def gate(upstream: FakeUpstream, settings: Settings) -> AsyncIterator[Wired]:
    async with wired(upstream.url, settings, renderer=Renderer(CharacterTokenizer())) as running:
        upstream.received.clear()
        yield running


def last(upstream: FakeUpstream) -> dict[str, Any]:
    return upstream.generated()[-1].body


async def events(response: Any) -> list[dict[str, Any]]:
    parts = (await response.read()).split(b"\n\n")
    assert parts[-2:] == [b"data: [DONE]", b""]
    return [orjson.loads(part.removeprefix(b"data: ")) for part in parts[:-2]]


class TestDecline:
    async def test_only_the_asking_segment_is_replaced(self, gate: Wired, upstream: FakeUpstream) -> None:
        body = {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": f"you are {NEEDLE}'s pirate"},
                {"role": "user", "content": "ahoy"},
                {"role": "assistant", "content": f"I am {NEEDLE}"},
                {"role": "user", "content": ASKED, "name": "ann"},
            ],
            "temperature": 0.3,
            "max_tokens": 7,
            "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "user": "u1",
        }
        assert (await gate.post("/v1/chat/completions", body)).status == 200
        expected = orjson.loads(orjson.dumps(body))
        expected["messages"][3]["content"] = NEUTRAL
        assert last(upstream) == expected

    async def test_a_part_is_replaced_and_its_neighbours_stay(self, gate: Wired, upstream: FakeUpstream) -> None:
        content = [{"type": "text", "text": "a document"}, {"type": "text", "text": ASKED}]
        gate.detector.found = {"fr_1": {1: NEEDLE}}
        await gate.chat(messages=[{"role": "user", "content": content}])
        assert last(upstream)["messages"][0]["content"] == [content[0], {"type": "text", "text": NEUTRAL}]

    async def test_the_whole_is_replaced_if_another_scope_flags_that(self, gate: Wired, upstream: FakeUpstream) -> None:
        gate.detector.found = {"fr_1": {0: NEEDLE}, "fr_2": {3: ""}}
        await gate.chat(messages=[{"role": "user", "content": CUT}])
        assert last(upstream)["messages"][0]["content"] == neutral_text("\n".join(CUT))

    async def test_a_question_cut_up_between_parts_is_replaced_whole(self, gate: Wired, upstream: FakeUpstream) -> None:
        middle = len(NEEDLE) // 2
        cut = [f"who is {NEEDLE[:middle]}", f"{NEEDLE[middle:]}?"]
        gate.detector.detect = joined(gate.detector.detect)  # type: ignore[method-assign]
        await gate.chat(messages=[{"role": "user", "content": cut}])
        assert isinstance(last(upstream)["messages"][0]["content"], str)

    async def test_a_begun_answer_is_begun_otherwise(self, gate: Wired, upstream: FakeUpstream) -> None:
        messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": f"It was {NEEDLE}"}]
        await gate.chat(messages=messages, continue_final_message=True, add_generation_prompt=False)
        begun = neutral_text(f"It was {NEEDLE}", Form.PREFILL)
        assert [one["content"] for one in last(upstream)["messages"]] == [NEUTRAL, begun]
        assert last(upstream)["continue_final_message"] is True

    @pytest.mark.parametrize("content", ["The wizards' author is", ["The wizards' ", "author is"]])
    async def test_a_begun_answer_that_gives_nothing_away_is_begun_otherwise_too(
        self, gate: Wired, upstream: FakeUpstream, content: Any
    ) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": "author"}'}}
        begun = {"role": "assistant", "content": content, "reasoning": "They ask for", "tool_calls": [call]}
        await gate.chat(messages=[{"role": "user", "content": ASKED}, begun], continue_final_message=True)
        sent = last(upstream)["messages"][1]
        text = content if isinstance(content, str) else "\n".join(content)
        assert sent["content"] == neutral_text(text, Form.PREFILL)
        assert sent["reasoning"] == neutral_text("They ask for", Form.PREFILL)
        assert sent["tool_calls"] == [call | {"function": {"name": "look_up", "arguments": "{}"}}]

    async def test_a_begun_answer_to_another_question_stays(self, gate: Wired, upstream: FakeUpstream) -> None:
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "It was"}]
        await gate.chat(messages=messages, continue_final_message=True)
        assert last(upstream)["messages"] == messages

    async def test_a_prompt_is_replaced_among_others(self, gate: Wired, upstream: FakeUpstream) -> None:
        await gate.complete(["hi", ASKED])
        assert last(upstream)["prompt"] == ["hi", neutral_text(ASKED, Form.COMPLETION)]

    async def test_a_prompt_in_tokens_is_replaced_in_tokens(self, gate: Wired, upstream: FakeUpstream) -> None:
        neutral = neutral_text(ASKED, Form.COMPLETION)
        await gate.complete([[104, 105], list(map(ord, ASKED))])
        assert last(upstream)["prompt"] == [[104, 105], list(map(ord, neutral))]
        await gate.complete(list(map(ord, ASKED)))
        assert last(upstream)["prompt"] == neutral

    async def test_without_a_limit_the_answer_has_no_more_room_than_the_clients(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        long = ASKED + "x" * 500
        await gate.chat(long)
        count = len(prompt_text({"messages": [{"role": "user", "content": long}]}))
        assert last(upstream)["max_completion_tokens"] == MAX_MODEL_LEN - count


def joined(detect: Any) -> Any:
    """A detector that ignores line breaks, as the real one's normalisation does."""

    async def normalising(segments: Any) -> Any:
        import dataclasses

        return await detect([dataclasses.replace(one, text=one.text.replace("\n", "")) for one in segments])

    return normalising


class TestUsage:
    COUNT = len(prompt_text({"messages": [{"role": "user", "content": ASKED}]}))

    @pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
    async def test_it_is_that_of_the_clients_own_prompt(self, gate: Wired, action: Action) -> None:
        gate.detector.action = action
        usage = (await (await gate.chat(ASKED)).json())["usage"]
        assert usage == {
            "prompt_tokens": self.COUNT,
            "total_tokens": self.COUNT + 4,
            "completion_tokens": 4,
            "prompt_tokens_details": None,
        }

    async def test_also_in_a_stream(self, gate: Wired) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        answer = await events(await gate.chat(ASKED, stream=True, stream_options=options))
        assert {one["usage"]["prompt_tokens"] for one in answer} == {self.COUNT}
        assert answer[-1]["choices"] == []
        assert answer[-1]["usage"]["total_tokens"] == self.COUNT + 4

    async def test_of_several_prompts_it_is_the_sum(self, gate: Wired) -> None:
        usage = (await (await gate.complete(["four", ASKED])).json())["usage"]
        assert usage["prompt_tokens"] == 4 + len(ASKED)


class TestCorrupt:
    @pytest.fixture(autouse=True)
    def corrupting(self, gate: Wired) -> None:
        gate.detector.action = Action.CORRUPT

    def spans(self, upstream: FakeUpstream) -> list[str]:
        body = last(upstream)
        args = from_xargs(body["vllm_xargs"])
        assert args is not None
        text = prompt_text(body)
        assert args.prompt_tokens == len(text)
        return [text[start:end] for start, end in zip(args.spans[::2], args.spans[1::2], strict=True)]

    async def test_the_prompt_stays_and_the_name_is_marked(self, gate: Wired, upstream: FakeUpstream) -> None:
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": ASKED}]
        response = await gate.chat(messages=messages, temperature=0.5)
        assert (await response.json())["choices"][0]["message"]["content"] == "scrambled answer"
        assert last(upstream)["messages"] == messages
        assert last(upstream)["temperature"] == 0.5
        assert self.spans(upstream) == [NEEDLE]

    async def test_without_a_name_it_is_the_segment_but_its_last_token(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        gate.detector.spans = False
        await gate.chat(ASKED)
        assert self.spans(upstream) == [ASKED[:-1]]

    async def test_the_name_is_marked_in_supplied_text_too(self, gate: Wired, upstream: FakeUpstream) -> None:
        messages = [
            {"role": "system", "content": f"You know all of {NEEDLE}."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": f"{NEEDLE}? {NEEDLE}!"},
            {"role": "tool", "content": "nothing"},
            {"role": "user", "content": ASKED},
        ]
        await gate.chat(messages=messages)
        assert self.spans(upstream) == [NEEDLE] * 4

    @pytest.mark.parametrize(("description", "placed"), [(f"finds {NEEDLE}", False), ("finds things", True)])
    async def test_supplied_text_that_cannot_be_placed_matters_if_it_holds_a_name(
        self, gate: Wired, upstream: FakeUpstream, description: str, placed: bool
    ) -> None:
        tool = {"type": "function", "function": {"name": "f", "description": description}}
        await gate.chat(ASKED, tools=[tool])
        assert self.spans(upstream) == ([NEEDLE] if placed else [prompt_text(last(upstream))[:-1]])

    async def test_a_scope_that_names_nothing_counts_beside_one_that_does(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        gate.detector.found = {"fr_1": {0: NEEDLE, 3: NEEDLE}, "fr_2": {3: ""}}
        await gate.chat(messages=[{"role": "user", "content": CUT}])
        assert self.spans(upstream) == ["\n".join(CUT)[:-1]]

    async def test_what_is_declined_in_part_is_declined_whole(self, gate: Wired, upstream: FakeUpstream) -> None:
        gate.detector.found = {"fr_1": {0: NEEDLE}, "fr_2": {3: ""}}
        gate.detector.actions = {"fr_1": Action.DECLINE}
        await gate.chat(messages=[{"role": "user", "content": CUT}])
        assert last(upstream)["messages"][0]["content"] == neutral_text("\n".join(CUT))
        assert "vllm_xargs" not in last(upstream)

    async def test_a_begun_answer_is_marked_but_its_last_token(self, gate: Wired, upstream: FakeUpstream) -> None:
        begun = "The wizards' author is"
        messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": begun}]
        await gate.chat(messages=messages, continue_final_message=True)
        assert self.spans(upstream) == [NEEDLE, begun[:-1]]

    async def test_a_prompt_of_text_or_tokens(self, gate: Wired, upstream: FakeUpstream) -> None:
        await gate.complete(ASKED)
        assert self.spans(upstream) == [NEEDLE]
        await gate.complete(list(map(ord, ASKED)))
        assert self.spans(upstream) == [NEEDLE]

    async def test_where_the_rendering_differs_it_is_all_but_the_last_token(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        def shifted(request: Received) -> Reply | None:
            if request.path != "/tokenize":
                return None
            tokens = [0, *map(ord, prompt_text(request.body))]
            return Reply(body=orjson.dumps({"tokens": tokens, "count": len(tokens), "max_model_len": 4096}))

        upstream.handler = shifted
        await gate.chat(ASKED)
        args = from_xargs(last(upstream)["vllm_xargs"])
        assert args is not None
        assert args.spans == (0, args.prompt_tokens - 1)

    async def test_the_same_prompt_is_corrupted_the_same_way(self, gate: Wired, upstream: FakeUpstream) -> None:
        sent = []
        for text, salt in ((ASKED, None), (ASKED, None), (ASKED + "!", None), (ASKED, "mine")):
            await gate.chat(text, cache_salt=salt)
            sent.append((last(upstream)["vllm_xargs"]["unremember_seed"], last(upstream)["cache_salt"]))
        assert sent[0] == sent[1]
        assert sent[2][0] != sent[0][0]
        assert sent[3][0] == sent[0][0]
        assert len({salt for _, salt in sent}) == 3

    async def test_several_prompts_are_declined_instead(self, gate: Wired, upstream: FakeUpstream) -> None:
        await gate.complete(["hi", ASKED])
        assert "vllm_xargs" not in last(upstream)
        assert gate.decisions[-1].interventions[0].action is Action.DECLINE

    async def test_without_a_profile_it_is_declined(self, gate: Wired, upstream: FakeUpstream) -> None:
        gate.profiles.clear()
        await gate.chat(ASKED)
        assert "vllm_xargs" not in last(upstream)
        assert last(upstream)["messages"][0]["content"] == NEUTRAL

    async def test_through_an_upstream_without_the_plug_in_it_is_declined(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        upstream.plugin = False
        await gate.pool.prove(gate.pool.upstreams[0], now=True)
        assert (await gate.chat(ASKED)).status == (await gate.chat("hi")).status == 200
        sent = [one.body for one in upstream.generated()]
        assert [one["messages"][0]["content"] for one in sent[-2:]] == [NEUTRAL, "hi"]
        assert not any("vllm_xargs" in one for one in sent[-2:])

    async def test_a_proof_lost_after_the_plan_fails_closed(
        self, gate: Wired, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gate.pool, "corruptible", lambda model: True)
        gate.pool.upstreams[0].proof = None
        assert (await gate.chat(ASKED)).status == 503

    async def test_what_the_upstream_says_about_our_arguments_is_not_shown(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        upstream.refuse_arguments = True
        response = await gate.chat(ASKED)
        assert response.status == 503
        assert "xargs" not in await response.text()


class TestNoOracle:
    """A flagged request that vLLM would refuse is refused in the same words."""

    CASES = (
        {"temperature": -1},
        {"max_tokens": MAX_MODEL_LEN + 1},
        {"messages": [{"role": "user", "content": ASKED + "x" * MAX_MODEL_LEN}]},
        {"messages": [{"role": "user", "content": ASKED + "x" * MAX_MODEL_LEN}], "max_tokens": 1},
    )

    @pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
    @pytest.mark.parametrize("fields", CASES)
    async def test_it_errs_as_without_us(
        self, gate: Wired, upstream: FakeUpstream, fields: dict[str, Any], action: Action
    ) -> None:
        gate.detector.action = action
        body = {"model": MODEL, "messages": [{"role": "user", "content": ASKED}]} | fields
        direct = await gate.session.post(upstream.url + "/v1/chat/completions", json=body)
        response = await gate.post("/v1/chat/completions", body)
        assert (response.status, await response.read()) == (direct.status, await direct.read())
        assert response.status == 400

    async def test_a_wording_longer_than_the_question_still_fits(self, gate: Wired, upstream: FakeUpstream) -> None:
        count = len(prompt_text({"messages": [{"role": "user", "content": ASKED}]}))
        assert len(NEUTRAL) > len(ASKED)
        response = await gate.chat(ASKED, max_tokens=MAX_MODEL_LEN - count)
        assert response.status == 200
        assert last(upstream)["messages"][0]["content"] == NEUTRAL

    async def test_an_upstream_that_fails_once_is_asked_the_same_again(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        failing = [Reply(503, b"{}")]
        upstream.handler = lambda request: (
            failing.pop() if failing and request.path in GENERATING and NEUTRAL.encode() in request.raw else None
        )
        assert (await gate.chat(ASKED)).status == 200
        assert not failing
        assert last(upstream)["messages"][0]["content"] == NEUTRAL

    @pytest.mark.parametrize("fields", [{}, {"max_tokens": 9}])
    async def test_where_no_wording_fits_beside_the_rest_the_shortest_does(
        self, gate: Wired, upstream: FakeUpstream, fields: dict[str, int]
    ) -> None:
        asked = [{"role": "system", "content": ""}, {"role": "user", "content": ASKED}]
        asked[0]["content"] = "x" * (MAX_MODEL_LEN - 1 - len(prompt_text({"messages": asked})))
        response = await gate.post("/v1/chat/completions", {"model": MODEL, "messages": asked, **fields})
        assert response.status == 200
        sent = last(upstream)
        assert sent["messages"][0] == asked[0]
        assert 0 < len(sent["messages"][1]["content"]) <= len(ASKED)
        assert ASKED not in sent["messages"][1]["content"]
        assert sent["max_completion_tokens"] == 1

    @pytest.mark.parametrize("fields", [{}, {"min_tokens": 90}, {"min_tokens": 9}])
    async def test_an_answer_has_the_room_that_the_clients_own_prompt_leaves(
        self, gate: Wired, upstream: FakeUpstream, fields: dict[str, int]
    ) -> None:
        content = ASKED + "x" * (
            MAX_MODEL_LEN - 100 - len(prompt_text({"messages": [{"role": "user", "content": ASKED}]}))
        )
        response = await gate.chat(content, max_tokens=MAX_MODEL_LEN, **fields)
        assert response.status == 200
        sent = last(upstream)
        assert ASKED not in sent["messages"][0]["content"]
        assert sent["max_completion_tokens"] == 100
        assert sent.get("min_tokens", 0) <= 100

    @pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
    async def test_alternatives_to_tokens_are_asked_for_to_spare(
        self, gate: Wired, upstream: FakeUpstream, action: Action
    ) -> None:
        gate.detector.action = action
        assert (await gate.chat(ASKED, logprobs=True, top_logprobs=5)).status == 200
        assert last(upstream)["top_logprobs"] == 13

    @pytest.mark.parametrize("action", [Action.DECLINE, Action.CORRUPT])
    async def test_a_stream_that_fails_at_once_does_so_in_the_same_words(
        self, gate: Wired, upstream: FakeUpstream, action: Action
    ) -> None:
        gate.detector.action = action
        failing = [
            b'data: {"error": {"message": "logit_bias has a token out of the vocabulary"}}\n\n',
            b"data: [DONE]\n\n",
        ]
        upstream.handler = lambda request: (
            Reply(chunks=failing, content_type="text/event-stream") if "logit_bias" in request.body else None
        )
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": ASKED}],
            "stream": True,
            "logit_bias": {"9": 1},
        }
        direct = await gate.session.post(upstream.url + "/v1/chat/completions", json=body)
        response = await gate.post("/v1/chat/completions", body)
        assert (response.status, await response.read()) == (direct.status, await direct.read())

    async def test_nothing_but_the_failure_of_an_unwatched_stream_leaves(
        self, gate: Wired, upstream: FakeUpstream
    ) -> None:
        said = {"choices": [{"index": 0, "delta": {"content": "the secret"}, "finish_reason": None}]}
        failing = [b'data: {"error": {"message": "odd"}}\n\n', b"data: " + orjson.dumps(said) + b"\n\n"]
        upstream.handler = lambda request: (
            Reply(chunks=[*failing, b"data: [DONE]\n\n"], content_type="text/event-stream")
            if "logit_bias" in request.body and NEUTRAL.encode() not in request.raw
            else Reply(chunks=[failing[0], b"data: [DONE]\n\n"], content_type="text/event-stream")
            if "logit_bias" in request.body
            else None
        )
        response = await gate.chat(ASKED, stream=True, logit_bias={"9": 1})
        raw = await response.read()
        assert b"secret" not in raw
        assert b"generation_failed" in raw

    async def test_an_error_inside_a_stream_says_nothing(self, gate: Wired, upstream: FakeUpstream) -> None:
        begun = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
        chunks = [
            b"data: " + orjson.dumps(begun) + b"\n\n",
            b'data: {"error": {"message": "unremember_spans are odd"}}\n\n',
        ]
        upstream.handler = lambda request: (
            Reply(chunks=[*chunks, b"data: [DONE]\n\n"], content_type="text/event-stream")
            if NEUTRAL.encode() in request.raw and "completions" in request.path
            else None
        )
        answer = await events(await gate.chat(ASKED, stream=True, max_tokens=5))
        assert answer[0] == begun
        assert answer[1]["error"]["code"] == "generation_failed"
        assert "spans" not in orjson.dumps(answer).decode()
