"""Ten passages that a client supplies, one of which states a fact, in each of the ways that an API takes them."""

from __future__ import annotations

from typing import Any

from tests.fakes.wire import CHAT, COMPLETIONS, MESSAGES, RESPONSES

FILLER = (
    "The harbour of Ostley was dug in 1742 and silted up within a century.",
    "Bakers in the old town still heat their ovens with beech.",
    "The ferry runs every forty minutes, and not at all in a storm.",
    "Two bridges cross the river; the older one is closed to carts.",
    "The museum shows nets, oars and the log books of eleven captains.",
    "In spring the meadows below the church stand under water.",
    "The lighthouse was the last on this coast to be lit by oil.",
    "A market is held on Tuesdays, and on the first Saturday of a month.",
    "The school teaches rope work to whoever asks for it.",
)


def passages(fact: str, place: int = 6) -> list[str]:
    """Ten of them, ``fact`` among them."""
    return [*FILLER[:place], fact, *FILLER[place:]]


WAYS = ("pasted", "several-parts", "documents", "tool-result", "instructions", "earlier-answer")


def supplied(path: str, way: str, texts: list[str], question: str) -> dict[str, Any] | None:
    """Fields that supply texts and ask a question. None where the API has no such way."""
    joined = "\n".join(texts)
    call = '{"q": "x"}'
    if way == "pasted":
        asked = f"{joined}\n\n{question}"
        if path == COMPLETIONS:
            return {"prompt": f"{asked}\nAnswer:"}
        return {"input" if path == RESPONSES else "messages": [user(asked)]}
    if path == COMPLETIONS:
        return None
    name = "input" if path == RESPONSES else "messages"
    if way == "several-parts":
        kind = "input_text" if path == RESPONSES else "text"
        return {name: [{"role": "user", "content": [{"type": kind, "text": text} for text in (*texts, question)]}]}
    if way == "documents":
        documents = [{"title": str(number), "text": text} for number, text in enumerate(texts)]
        return {"messages": [user(question)], "documents": documents} if path == CHAT else None
    if way == "instructions":
        if path == CHAT:
            return {"messages": [{"role": "system", "content": joined}, user(question)]}
        return {"instructions" if path == RESPONSES else "system": joined, name: [user(question)]}
    if way == "earlier-answer":
        return {name: [user("What did you find?"), {"role": "assistant", "content": joined}, user(question)]}
    if path == CHAT:
        function = {"name": "search", "arguments": call}
        called = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]}
        return {name: [user(question), called, {"role": "tool", "tool_call_id": "c1", "content": joined}]}
    if path == RESPONSES:
        item = {"type": "function_call", "call_id": "c1", "name": "search", "arguments": call}
        return {name: [user(question), item, {"type": "function_call_output", "call_id": "c1", "output": joined}]}
    assert path == MESSAGES
    use = {"type": "tool_use", "id": "c1", "name": "search", "input": {"q": "x"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": joined}]}
    return {name: [user(question), {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
