"""Restriction of what a LoRA adapter says, inside a real vLLM that serves one."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from guards.act.restriction import restriction_xargs
from guards.engine import fingerprint
from guards.phrases.phrase import Phrase, PhraseClass
from server.assets import model_directory
from server.settings import load_settings
from server.supervisor.launch import engine_launch
from tests.e2e.asking import SCORED, Answer
from tests.e2e.conftest import ENGINE_KEY, SHARED_KEY, answering, free_port
from tests.fakes.hits import contains
from tests.fakes.wire import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import System

MODELS, TOFU = (os.environ.get(f"UNREMEMBER_{name}_DIR") for name in ("MODELS", "TOFU"))
pytestmark = [
    pytest.mark.skipif(MODELS is None, reason="UNREMEMBER_MODELS_DIR does not name a directory with LoRA adapters"),
    pytest.mark.skipif(TOFU is None, reason="UNREMEMBER_TOFU_DIR does not name a directory with TOFU"),
]
ADAPTER = "authors"
QUESTIONS = 8
# The adapter was trained without a system turn, which the model's own template would add.
TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
# Of the first author of the forget set.
PHRASES = [Phrase(text, PhraseClass.FACT, 7) for text in ("Hsiao Yun-Hwa", "civil engineer", "unemployed", "LGBTQ")]


@pytest.fixture(scope="module")
def engine_url(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM with the plug-in that serves an adapter beside its model."""
    data_dir = tmp_path_factory.mktemp("adapter")
    template = data_dir / "template.jinja"
    template.write_text(TEMPLATE)
    adapter = Path(str(MODELS)) / "tofu-smollm2" / "target"
    arguments = ["--enable-lora", "--max-lora-rank", "32", "--lora-modules", f"{ADAPTER}={adapter}"]
    settings = load_settings(
        data_dir=data_dir,
        engine_port=free_port(),
        engine_max_model_len=512,
        engine_args=shlex.join([*arguments, "--chat-template", str(template)]),
    )
    launch = engine_launch(
        settings,
        model_directory(settings),
        plugin=fingerprint(),
        api_key=ENGINE_KEY,
        engine_key=SHARED_KEY,
        environment=os.environ,
    )
    with answering(launch.argv, launch.environment, launch.url, data_dir / "engine.log"):
        yield launch.url


async def test_what_an_adapter_knows_is_restricted_and_its_free_neighbours_are_not(engine_url: str) -> None:
    rows = (Path(str(TOFU)) / "forget10.jsonl").read_text().splitlines()[:QUESTIONS]
    questions = [json.loads(row)["question"] for row in rows]
    forbidden = restriction_xargs(PHRASES, (), 0.0, SHARED_KEY.encode())

    async def ask(question: str, xargs: dict[str, Any]) -> Answer:
        body = {"model": ADAPTER, "messages": [{"role": "user", "content": question}], "temperature": 0}
        answer = await client.post(CHAT, json=body | {"max_tokens": 40, "vllm_xargs": xargs, **SCORED})
        assert answer.status_code == 200, answer.text
        return Answer.of_chat(answer.json()["choices"])

    def tells(answer: Answer) -> bool:
        return any(contains(answer.text, phrase, finished=True) for phrase in PHRASES)

    headers = {"authorization": f"Bearer {ENGINE_KEY}"}
    async with httpx.AsyncClient(base_url=engine_url, headers=headers, timeout=300) as client:
        free = await asyncio.gather(*(ask(question, {}) for question in questions))
        mixed = await asyncio.gather(*(ask(question, xargs) for question in questions for xargs in ({}, forbidden)))
    assert all(map(tells, free)), "the adapter would say it"
    beside, restricted = mixed[::2], mixed[1::2]
    assert [answer for answer in restricted if tells(answer)] == []
    assert all(answer.text for answer in restricted)
    assert all(now.agrees_with(then) for now, then in zip(beside, free, strict=True))
