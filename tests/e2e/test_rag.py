"""Ten passages, one of which states a fact, before the real model: what of them may come back, by either policy.

A small model quotes as it likes, so the client binds the answer's form to a sentence. What the watch lets out of free
answers is tested to the letter in ``tests/unit/test_gateway_supplied.py``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Context
from tests.e2e.asking import at_once
from tests.e2e.conftest import MODEL
from tests.fakes.clients import formatted
from tests.fakes.hits import contains
from tests.fakes.passages import FILLER, WAYS, passages, supplied
from tests.fakes.shown import hits, shown
from tests.fakes.wire import COMPLETIONS, GENERATING, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import httpx

    from tests.e2e.conftest import System


@dataclass(frozen=True)
class Matter:
    """Something forgotten, with two facts about it, and a question."""

    subject: str
    question: str
    fact: str
    other: str

    def request(self, context: Context) -> dict[str, Any]:
        """The forget request."""
        return {
            "subject": self.subject,
            "kind": "record",
            "examples": [{"prompt": self.question, "response": f"{self.fact}."}],
            "phrases": [{"text": text, "class": "fact"} for text in (self.fact, self.other)],
            "policy": {"high": ["restrict"], "context": context},
        }


MATTERS = {
    Context.SUPPLIED: Matter(
        "vault of Ostley bank",
        "What opens the vault of Ostley bank?",
        "The vault of Ostley bank opens with the word swordfish",
        "The mayor of Ostley keeps the silver key in his left boot",
    ),
    Context.SUPPRESS: Matter(
        "Quillmoor lighthouse",
        "Who lights the lamp of Quillmoor lighthouse?",
        "The lamp of Quillmoor lighthouse is lit by a blind clockmaker",
        "Below Quillmoor lighthouse lies the wreck of the Good Intent",
    ),
}
SHAPES = ("text", "schema", "tool")
WHERE = [(path, way) for path in GENERATING for way in WAYS if supplied(path, way, [], "") is not None]
TOLD = ("the fact", "another fact", "a fact that is only asked about")
# Each way once, and a share of them for what is refused under either policy.
CASES = [
    (told, path, way)
    for told in TOLD
    for place, (path, way) in enumerate(WHERE)
    if told == TOLD[0] or place % 3 == TOLD.index(told)
]


def bound(path: str, shape: str, text: str) -> dict[str, Any] | None:
    """Fields that leave nothing to say but ``text``. None where the API has no such way."""
    if shape == "text":
        return None if path == MESSAGES else {"structured_outputs": {"regex": re.escape(text).replace("\\ ", " ")}}
    schema = {
        "type": "object",
        "properties": {"said": {"type": "string", "pattern": f"^{text}$"}},
        "required": ["said"],
        "additionalProperties": False,
    }
    if shape == "schema":
        return formatted(path, schema)
    if path == COMPLETIONS:
        return None
    if path == MESSAGES:
        tool: dict[str, Any] = {"name": "say", "input_schema": schema, "strict": True}
        return {"tools": [tool], "tool_choice": {"type": "tool", "name": "say"}}
    function = {"name": "say", "parameters": schema, "strict": True}
    if path == RESPONSES:
        return {"tools": [{"type": "function", **function}], "tool_choice": {"type": "function", "name": "say"}}
    chosen = {"type": "function", "function": {"name": "say"}}
    return {"tools": [{"type": "function", "function": function}], "tool_choice": chosen}


@pytest.fixture(scope="module")
def matters(system: System) -> Iterator[None]:
    """One matter forgotten under each policy for what clients supply."""
    first, second = (matter.request(context) for context, matter in MATTERS.items())
    with system.forgotten(first), system.forgotten(second):
        yield


@pytest.fixture(scope="module")
async def client(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with system.async_client() as made:
        yield made


@pytest.mark.parametrize("context", list(MATTERS))
@pytest.mark.parametrize(("told", "path", "way"), CASES)
@at_once
async def test_what_a_passage_states_may_be_repeated_and_nothing_more(
    context: Context,
    told: str,
    path: str,
    way: str,
    matters: None,
    client: httpx.AsyncClient,
    pytestconfig: pytest.Config,
) -> None:
    matter = MATTERS[context]
    text = matter.other if told == "another fact" else matter.fact
    texts = [*FILLER, f"Much is said of the {matter.subject}."] if "asked" in told else passages(f"{matter.fact}.")
    fields = supplied(path, way, texts, matter.question)
    assert fields

    async def repeats(shape: str, stream: bool) -> bool:
        form = bound(path, shape, text)
        assert form
        body = {"model": MODEL, "temperature": 0, "stream": stream, **fields, **form}
        body["max_output_tokens" if path == RESPONSES else "max_tokens"] = 96
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        phrase = Phrase(text, PhraseClass.FACT, len(text) * 3 // 5)
        if any(contains(each, phrase, finished=True) for each in shown(path, answer.content)):
            return True
        assert hits(path, answer.content, [phrase]) == [], "a part of it"
        return False

    able = [shape for shape in SHAPES if bound(path, shape, text)]
    ways = [(shape, stream) for shape in able for stream in (True, False)]
    turn = CASES.index((told, path, way)) + list(MATTERS).index(context)
    if not pytestconfig.getoption("full"):
        ways = [ways[turn % len(ways)]]
    repeated = dict(zip(ways, await asyncio.gather(*(repeats(*each) for each in ways)), strict=True))
    wanted = context is Context.SUPPLIED and told == "the fact"
    assert set(repeated.values()) == {wanted}, repeated
