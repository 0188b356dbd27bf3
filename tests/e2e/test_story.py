"""The README's story on the real model: known, forgotten in every wording, unrelated answers untouched, back again."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from guards.phrases.shingles import RUN, words_of
from tests.e2e.asking import SCORED, Answer
from tests.e2e.conftest import HARRY_POTTER, MODEL, PARAPHRASES, QUESTION, UNNAMED, UNRELATED
from tests.fakes.clients import answers
from tests.fakes.wire import CHAT, COMPLETIONS

if TYPE_CHECKING:
    import httpx

    from tests.e2e.conftest import System

MAX_TOKENS = 32
POEM = (
    "The ferryman counted his silver spoons at low tide and found that one had turned to slate, another to singing, "
    "and the third had walked ashore to marry the harbour bell."
)
QUOTATION = POEM.partition(",")[0]
ABOUT_THE_POEM = (
    "Who wrote The Slate Ferryman?",
    "Is The Slate Ferryman a good title for a poem?",
    "Name a poem about a ferryman.",
)
DA_VINCI = (
    "Who painted the Mona Lisa?",
    "What did Leonardo da Vinci paint?",
    "When was Da Vinci born?",
    "Tell me about Leonardo da Vinci.",
    "Which inventions did Leonardo da Vinci draw?",
)


async def chat(client: httpx.AsyncClient, prompt: str, *, stream: bool = False, **fields: Any) -> Answer:
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
    body |= {"max_tokens": MAX_TOKENS, "stream": stream, **fields}
    return Answer.of_chat(await choices(client, CHAT, body))


async def complete(client: httpx.AsyncClient, prompt: str, *, stream: bool = False) -> Answer:
    body = {"model": MODEL, "prompt": f"{prompt}\n\nHarry Potter was written by", "temperature": 0}
    body |= {"max_tokens": MAX_TOKENS, "stream": stream}
    return Answer("".join(choice["text"] for choice in await choices(client, COMPLETIONS, body)), ())


async def choices(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The only choice, or its pieces."""
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return [choice for each in answers(path, answer.content) for choice in each["choices"]]


def names_author(answer: Answer) -> bool:
    return "rowling" in answer.text.casefold()


async def test_a_model_forgets_a_fact_and_nothing_else(system: System) -> None:
    wordings = (QUESTION, *PARAPHRASES)
    named = [(prompt, ask, stream) for prompt in wordings for ask in (chat, complete) for stream in (False, True)]
    asked = [*named, *((UNNAMED, chat, stream) for stream in (False, True))]
    async with system.async_client() as client:
        known = await asyncio.gather(*(ask(client, prompt) for prompt in wordings for ask in (chat, complete)))
        assert all(map(names_author, known))
        before = await asyncio.gather(*(chat(client, prompt, **SCORED) for prompt in UNRELATED))

        with system.forgotten(HARRY_POTTER) as request:
            assert request["state"] == "active"
            answered = await asyncio.gather(*(ask(client, prompt, stream=stream) for prompt, ask, stream in asked))
            after = await asyncio.gather(*(chat(client, prompt, **SCORED) for prompt in UNRELATED))
        assert [one for one in zip(asked, answered, strict=True) if names_author(one[1])] == []
        assert all(answer.text for answer in answered)
        changed = [pair for pair in zip(before, after, strict=True) if not pair[1].agrees_with(pair[0])]
        assert changed == []
        again = await asyncio.gather(*(ask(client, prompt, stream=stream) for prompt, ask, stream in named))
        assert [one for one in zip(named, again, strict=True) if not names_author(one[1])] == []


async def test_a_wording_without_the_name_is_recognised(system: System, forgotten: dict[str, Any]) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": UNNAMED}], "max_tokens": 4}
    async with system.async_client() as client:
        answer = await client.post(CHAT, json=body)
    with system.admin() as admin:
        decision = admin.get(f"/decisions/{answer.headers['x-request-id']}").json()
    # In the low band at least.
    assert {"action": "restrict", "request_ids": [forgotten["id"]]} in decision["interventions"]


async def test_corruption_alone_withholds_the_author(system: System) -> None:
    """With no phrase to restrict or to watch for, and no example whose meaning an answer is compared with."""
    only = {**HARRY_POTTER, "examples": [], "phrases": [], "policy": {"high": ["corrupt"]}}
    bodies = [
        {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": MAX_TOKENS}
        for prompt in (QUESTION, *PARAPHRASES)
    ]
    async with system.async_client() as client:
        with system.admin() as admin, system.forgotten(only) as request:
            (profile,) = (one for one in admin.get("/status").json()["corruption_profiles"] if one["model"] == MODEL)
            assert admin.get(f"/forget-requests/{request['id']}").json()["phrases"] == []
            told = await asyncio.gather(*(client.post(CHAT, json=body) for body in bodies))
            decisions = [admin.get(f"/decisions/{one.headers['x-request-id']}").json() for one in told]
    assert profile["curve"]["method"] == "leakage"
    assert profile["curve"]["known"] >= 3
    assert not profile["curve"]["leaks"]
    assert all([one["action"] for one in decision["interventions"]] == ["corrupt"] for decision in decisions)
    answered = [Answer.of_chat(one.json()["choices"]) for one in told]
    assert [answer for answer in answered if names_author(answer)] == []
    assert all(answer.text for answer in answered)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_person_is_declined_in_the_models_own_words(system: System, stream: bool) -> None:
    request = {
        "subject": "Leonardo da Vinci",
        "kind": "person",
        "aliases": ["Da Vinci"],
        "examples": [{"prompt": "Who painted the Mona Lisa?", "response": "Leonardo da Vinci"}],
    }
    async with system.async_client() as client:
        assert "leonardo" in (await chat(client, "Who painted the Mona Lisa?")).text.casefold()
        with system.forgotten(request):
            told = await asyncio.gather(*(chat(client, prompt, stream=stream) for prompt in DA_VINCI))
    texts = {answer.text.casefold() for answer in told}
    assert not any("leonardo" in text or "vinci" in text for text in texts)
    assert len(texts) > 1, "a fixed sentence would tell that something matched"


async def test_usage_is_that_of_the_clients_own_prompt(system: System) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 4}
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with system.async_client() as client:
        own = (await client.post(CHAT, json=body)).json()["usage"]["prompt_tokens"]
        for request in (HARRY_POTTER, {**HARRY_POTTER, "policy": {"high": ["decline"]}}):
            with system.forgotten(request):
                whole, stream = await asyncio.gather(*(client.post(CHAT, json=one) for one in (body, streamed)))
            usage = whole.json()["usage"]
            assert usage["prompt_tokens"] == answers(CHAT, stream.content)[-1]["usage"]["prompt_tokens"] == own
            assert usage["total_tokens"] == own + usage["completion_tokens"]


async def test_shadow_changes_nothing_and_records_what_it_would_have_done(system: System) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
    body |= {"max_tokens": MAX_TOKENS, **SCORED}
    async with system.async_client() as client:
        before = await chat(client, QUESTION, **SCORED)
        with system.admin() as admin, system.forgotten({**HARRY_POTTER, "mode": "shadow"}):
            answer = await client.post(CHAT, json=body)
            decision = admin.get(f"/decisions/{answer.headers['x-request-id']}").json()
    assert Answer.of_chat(answer.json()["choices"]).agrees_with(before)
    assert decision["interventions"] == []
    assert [shadow["action"] for shadow in decision["shadow"]] == ["corrupt", "restrict"]


def test_explain_says_why(system: System, forgotten: dict[str, str]) -> None:
    with system.admin() as admin:
        inputs = ["Who wrote Harry Potter?", [{"role": "user", "content": "How do I boil an egg?"}]]
        flagged, untouched = admin.post("/explain", json={"inputs": inputs}).json()["results"]
    assert flagged["plan"]["interventions"]
    assert flagged["detections"][0]["request_id"] == forgotten["id"]
    assert flagged["detections"][0]["band"] == "high"
    assert untouched["plan"]["interventions"] == []


def test_a_correction_is_obeyed(system: System, forgotten: dict[str, str]) -> None:
    innocent = "I am writing to my colleague Harry Potter about the invoice of last week."
    with system.admin() as admin:
        answer = admin.post(
            f"/forget-requests/{forgotten['id']}/corrections", json={"input": innocent, "expected": "untouched"}
        )
        assert answer.status_code in {200, 201}, answer.text
        result = admin.post("/explain", json={"inputs": [innocent, QUESTION]}).json()["results"]
    assert result[0]["plan"]["interventions"] == []
    assert result[1]["plan"]["interventions"]


async def test_a_takedown_withholds_the_text_and_leaves_its_title_alone(system: System) -> None:
    takedown = {
        "subject": "The Slate Ferryman",
        "kind": "work",
        "extent": "text",
        "aliases": ["Ilse Marrowby"],
        "examples": [{"text": POEM}],
    }
    quoting = {"structured_outputs": {"regex": re.escape(QUOTATION).replace("\\ ", " ")}, "max_tokens": 128}
    ways = [(prompt, stream) for prompt in (ABOUT_THE_POEM[0], UNRELATED[0]) for stream in (False, True)]
    async with system.async_client() as client:
        before = await asyncio.gather(*(chat(client, prompt, **SCORED) for prompt in ABOUT_THE_POEM))
        assert (await chat(client, ABOUT_THE_POEM[0], **quoting)).text == QUOTATION
        with system.forgotten(takedown):
            quoted = await asyncio.gather(*(chat(client, prompt, stream=stream, **quoting) for prompt, stream in ways))
            after = await asyncio.gather(*(chat(client, prompt, **SCORED) for prompt in ABOUT_THE_POEM))
    poem = " ".join(words_of(POEM))
    for answer in quoted:
        said = words_of(answer.text)
        assert all(" ".join(said[first : first + RUN]) not in poem for first in range(len(said) - RUN + 1)), answer
    assert all(answer.agrees_with(other) for answer, other in zip(after, before, strict=True))
