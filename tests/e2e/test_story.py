"""The README's story on the real model: known, forgotten in every wording, unrelated answers untouched, back again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import HARRY_POTTER, PARAPHRASES, QUESTION, UNRELATED

if TYPE_CHECKING:
    import httpx

    from tests.e2e.conftest import System

MAX_TOKENS = 32
DA_VINCI = (
    "Who painted the Mona Lisa?",
    "What did Leonardo da Vinci paint?",
    "When was Da Vinci born?",
    "Tell me about Leonardo da Vinci.",
    "Which inventions did Leonardo da Vinci draw?",
)


def chat(client: httpx.Client, prompt: str, *, stream: bool = False) -> str:
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "stream": stream,
    }
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(answer.json()["choices"][0]["message"]["content"])
    return "".join(
        event["choices"][0]["delta"].get("content") or "" for event in events(answer.text) if event["choices"]
    )


def complete(client: httpx.Client, prompt: str, *, stream: bool = False) -> str:
    body = {
        "model": "smollm2",
        "prompt": f"{prompt}\n\nHarry Potter was written by",
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "stream": stream,
    }
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not stream:
        return str(answer.json()["choices"][0]["text"])
    return "".join(event["choices"][0]["text"] for event in events(answer.text) if event["choices"])


def events(text: str) -> list[dict[str, list[dict[str, dict[str, str]]]]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def names_author(text: str) -> bool:
    return "rowling" in text.casefold()


def test_a_model_forgets_a_fact_and_nothing_else(system: System) -> None:
    with system.client() as client, system.admin() as admin:
        assert names_author(chat(client, QUESTION))
        assert all(names_author(complete(client, prompt)) for prompt in (QUESTION, *PARAPHRASES))
        before = {prompt: chat(client, prompt) for prompt in UNRELATED}

        created = admin.post("/forget-requests", params={"wait": "active"}, json=HARRY_POTTER)
        assert created.status_code == 201, created.text
        assert created.json()["state"] == "active"

        leaks = [
            (prompt, ask.__name__, stream)
            for prompt in (QUESTION, *PARAPHRASES)
            for ask in (chat, complete)
            for stream in (False, True)
            if names_author(ask(client, prompt, stream=stream))
        ]
        assert leaks == []

        after = {prompt: chat(client, prompt) for prompt in UNRELATED}
        assert after == before

        assert admin.delete(f"/forget-requests/{created.json()['id']}").status_code in {200, 204}
        assert names_author(chat(client, QUESTION))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_person_is_declined_in_the_models_own_words(system: System, stream: bool) -> None:
    request = {
        "subject": "Leonardo da Vinci",
        "kind": "person",
        "aliases": ["Da Vinci"],
        "examples": [{"prompt": "Who painted the Mona Lisa?", "response": "Leonardo da Vinci"}],
    }
    with system.client() as client, system.admin() as admin:
        assert "leonardo" in chat(client, "Who painted the Mona Lisa?").casefold()
        created = admin.post("/forget-requests", params={"wait": "active"}, json=request)
        assert created.status_code == 201, created.text
        try:
            answers = [chat(client, prompt, stream=stream) for prompt in DA_VINCI]
            assert all("leonardo" not in answer.casefold() and "vinci" not in answer.casefold() for answer in answers)
            assert len(set(answers)) > 1, "a fixed sentence would tell that something matched"
        finally:
            admin.delete(f"/forget-requests/{created.json()['id']}")


def test_usage_is_that_of_the_clients_own_prompt(system: System) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 4}
    declining = {**HARRY_POTTER, "policy": {"high": ["decline"]}}
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with system.client() as client, system.admin() as admin:
        own = client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens"]
        for request in (HARRY_POTTER, declining):
            created = admin.post("/forget-requests", params={"wait": "active"}, json=request).json()
            try:
                usage = client.post("/v1/chat/completions", json=body).json()["usage"]
                last = events(client.post("/v1/chat/completions", json=streamed).text)[-1]["usage"]
            finally:
                admin.delete(f"/forget-requests/{created['id']}")
            assert usage["prompt_tokens"] == last["prompt_tokens"] == own
            assert usage["total_tokens"] == own + usage["completion_tokens"]


def test_shadow_changes_nothing_and_records_what_it_would_have_done(system: System) -> None:
    with system.client() as client, system.admin() as admin:
        before = chat(client, QUESTION)
        created = admin.post(
            "/forget-requests", params={"wait": "active"}, json={**HARRY_POTTER, "mode": "shadow"}
        ).json()
        try:
            body = {
                "model": "smollm2",
                "messages": [{"role": "user", "content": QUESTION}],
                "temperature": 0,
                "max_tokens": MAX_TOKENS,
            }
            answer = client.post("/v1/chat/completions", json=body)
            decision = admin.get(f"/decisions/{answer.headers['x-request-id']}").json()
        finally:
            admin.delete(f"/forget-requests/{created['id']}")
        assert answer.json()["choices"][0]["message"]["content"] == before
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
