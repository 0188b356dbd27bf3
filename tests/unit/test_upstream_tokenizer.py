from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from server.api.chat import ChatCompletions
from server.api.completions import Completions
from server.api.endpoint import Limits
from server.upstream.tokenizer import Renderer
from tests.fakes.tokenizer import CharacterTokenizer
from tests.fakes.upstream import prompt_text

if TYPE_CHECKING:
    from server.api.body import Body


class TrimmingTokenizer(CharacterTokenizer):
    """Its template trims, as many do."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(f"[{message['role']}]{message['content'].strip()}" for message in messages)


class PartsTokenizer(CharacterTokenizer):
    """Its template wants content as parts."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(part["text"] + "|" for message in messages for part in message["content"])


class ShoutingTokenizer(CharacterTokenizer):
    """Its template changes the text."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(message["content"].upper() for message in messages)


def as_it_is(body: Body) -> Body:
    """A body that is sent as it is."""
    return body


def tokens(text: str) -> list[int]:
    return list(map(ord, text))


async def test_each_text_is_found_where_the_template_puts_it() -> None:
    request = {
        "messages": [
            {"role": "system", "content": "ask"},
            {"role": "user", "content": ["say", {"type": "text", "text": "ask"}]},
            {"role": "user", "content": "ask"},
        ]
    }
    paths = {("messages", 1, "content", 1, "text"): "ask", ("messages", 2, "content"): "ask"}
    text = prompt_text(request)
    located = await Renderer(CharacterTokenizer()).locate(request, as_it_is, tokens(text), paths)
    assert located is not None
    rendered, starts = located
    assert rendered.text == text
    assert list(starts.values()) == [text.index("say\nask") + 4, text.rindex("ask")]


async def test_a_trimmed_text_is_placed_by_what_is_left_of_it() -> None:
    request = {"messages": [{"role": "user", "content": "  who is it? "}]}
    path = ("messages", 0, "content")
    located = await Renderer(TrimmingTokenizer()).locate(
        request, as_it_is, tokens("[user]who is it?"), {path: "  who is it? "}
    )
    assert located is not None
    assert located[1][path] + 2 == len("[user]")


async def test_content_is_given_in_parts_where_that_is_what_the_upstream_does() -> None:
    request = {"messages": [{"role": "user", "content": ["a", {"type": "text", "text": "b"}]}]}
    path = ("messages", 0, "content", 1, "text")
    located = await Renderer(PartsTokenizer()).locate(request, as_it_is, tokens("a|b|"), {path: "b"})
    assert located is not None
    assert located[1][path] == 2


async def test_a_text_and_tokens_are_their_own_rendering() -> None:
    renderer = Renderer(CharacterTokenizer())
    for prompt in ("hi there", tokens("hi there")):
        rendering = Completions(Limits()).renderings({})[0]
        located = await renderer.locate({"prompt": prompt}, rendering, tokens("hi there"), {("prompt",): "hi there"})
        assert located is not None
        assert located[1] == {("prompt",): 0}


@pytest.mark.parametrize("tokenizer", [ShoutingTokenizer(), CharacterTokenizer()])
async def test_what_cannot_be_placed_is_not_guessed(tokenizer: CharacterTokenizer) -> None:
    request = {"messages": [{"role": "user", "content": "who"}]}
    assert (
        await Renderer(tokenizer).locate(request, as_it_is, tokens("WHO"), {("messages", 0, "content"): "who"}) is None
    )


async def test_a_template_that_fails_places_nothing() -> None:
    request = {"messages": [{"role": "user", "content": None}]}
    assert await Renderer(TrimmingTokenizer()).locate(request, as_it_is, [1], {}) is None


async def test_tool_calls_reach_the_template_as_objects() -> None:
    seen: list[Any] = []

    class Watching(CharacterTokenizer):
        def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
            seen.extend((messages, arguments))
            return "x"

    calls = [{"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    request = {
        "messages": [{"role": "assistant", "content": None, "tool_calls": calls}],
        "tools": [{"type": "function"}],
        "chat_template_kwargs": {"thinking": True},
        "add_generation_prompt": False,
    }
    assert await Renderer(Watching()).locate(request, as_it_is, tokens("x"), {}) is not None
    messages, arguments = seen[:2]
    assert messages[0]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert arguments == {
        "tools": [{"type": "function"}],
        "add_generation_prompt": False,
        "continue_final_message": False,
        "thinking": True,
    }


class RepeatingTokenizer(CharacterTokenizer):
    """Its template prints everything twice."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(message["content"] for message in messages * 2)


async def test_a_text_that_stands_twice_in_the_prompt_is_not_placed() -> None:
    request = {"messages": [{"role": "user", "content": "who"}]}
    path = ("messages", 0, "content")
    assert await Renderer(RepeatingTokenizer()).locate(request, as_it_is, tokens("whowho"), {path: "who"}) is None


async def test_a_suffix_is_no_part_of_a_rendered_prompt() -> None:
    renderer = Renderer(CharacterTokenizer())
    assert await renderer.locate({"prompt": "hi"}, as_it_is, tokens("hi"), {("suffix",): "hi"}) is None


class DocumentsTokenizer(CharacterTokenizer):
    """Its template prints documents."""

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        return "".join(f"[{document['text']}]" for document in arguments["documents"]) + messages[0]["content"]


async def test_a_document_is_found_among_the_templates_arguments() -> None:
    body = {"messages": [{"role": "user", "content": "who"}], "documents": [{"text": "a"}, {"text": "b"}]}
    path = ("documents", 1, "text")
    rendering = ChatCompletions(Limits()).renderings(body)[0]
    located = await Renderer(DocumentsTokenizer()).locate(body, rendering, tokens("[a][b]who"), {path: "b"})
    assert located is not None
    assert located[1] == {path: 4}


class CountingTokenizer(CharacterTokenizer):
    """Counts its renderings."""

    rendered = 0

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, **arguments: Any) -> str:
        self.rendered += 1
        return super().apply_chat_template(messages, tokenize=tokenize, **arguments)


async def test_many_texts_take_no_more_renderings_than_one() -> None:
    contents = [f"text {number}" for number in range(12)]
    request = {"messages": [{"role": "user", "content": content} for content in contents]}
    texts = {("messages", number, "content"): content for number, content in enumerate(contents)}
    prompt = prompt_text(request)
    tokenizer = CountingTokenizer()
    located = await Renderer(tokenizer).locate(request, as_it_is, tokens(prompt), dict(reversed(texts.items())))
    assert located is not None
    assert {path: prompt[start : start + len(texts[path])] for path, start in located[1].items()} == texts
    assert tokenizer.rendered == 2


async def test_a_text_and_one_within_it_are_both_found() -> None:
    request = {"messages": [{"role": "user", "content": ["say", "ask"]}]}
    texts = {("messages", 0, "content"): "say\nask", ("messages", 0, "content", 1): "ask"}
    prompt = prompt_text(request)
    located = await Renderer(CharacterTokenizer()).locate(request, as_it_is, tokens(prompt), texts)
    assert located is not None
    assert located[1] == {path: prompt.index(text) for path, text in texts.items()}
