"""In front of a vLLM as it comes, without the plug-in: what cannot be promised is refused, and declining works."""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from guards.engine.sealing import KEY_VARIABLE
from server.assets import model_directory
from server.cli.gateway import running
from server.settings import load_settings
from server.supervisor.launch import engine_launch
from tests.e2e.asking import SCORED, Answer
from tests.e2e.conftest import (
    ENGINE_KEY,
    HARRY_POTTER,
    MODEL,
    PARAPHRASES,
    QUESTION,
    SHARED_KEY,
    UNRELATED,
    answering,
    free_port,
)
from tests.fakes.wire import CHAT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

API_KEY = "client-key-of-the-test"
ADMIN_KEY = "admin-key-of-the-test"
MAX_TOKENS = 32


@contextmanager
def stock_engine(data_dir: Path) -> Iterator[str]:
    """A vLLM that serves the default model and loads no plug-in; gives its address."""
    settings = load_settings(data_dir=data_dir, engine_port=free_port(), engine_max_model_len=512, engine_args="")
    launch = engine_launch(
        settings, model_directory(settings), plugin="", api_key=ENGINE_KEY, engine_key="", environment=os.environ
    )
    ours = launch.argv.index("--additional-config")
    argv = [*launch.argv[:ours], *launch.argv[ours + 2 :]]
    environment = {name: value for name, value in launch.environment.items() if name != KEY_VARIABLE}
    environment |= {"VLLM_PLUGINS": "", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with answering(argv, environment, launch.url, data_dir / "engine.log"):
        yield launch.url


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A gateway that was given the key for a plug-in, as an operator would who believes it is there."""
    with stock_engine(tmp_path_factory.mktemp("stock")) as engine_url:
        settings = load_settings(
            data_dir=tmp_path_factory.mktemp("gateway"),
            port=free_port(),
            upstreams=(engine_url,),
            upstream_api_key=ENGINE_KEY,
            engine_key=SHARED_KEY,
            api_keys=(API_KEY,),
            admin_key=ADMIN_KEY,
        )
        async with running(settings) as server:
            await asyncio.wait_for(server.loaded(), 300)
            yield f"http://127.0.0.1:{settings.port}"


async def test_what_a_stock_vllm_cannot_do_is_refused_and_declining_works(gateway: str) -> None:
    async def chat(prompt: str) -> Answer:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        answer = await client.post(CHAT, json=body | {"max_tokens": MAX_TOKENS, **SCORED})
        assert answer.status_code == 200, answer.text
        return Answer.of_chat(answer.json()["choices"])

    def authors(answers: list[Answer]) -> list[bool]:
        return ["rowling" in answer.text.casefold() for answer in answers]

    asked = (QUESTION, *PARAPHRASES)
    async with (
        httpx.AsyncClient(base_url=gateway, headers={"authorization": f"Bearer {API_KEY}"}, timeout=300) as client,
        httpx.AsyncClient(
            base_url=f"{gateway}/admin/v1", headers={"authorization": f"Bearer {ADMIN_KEY}"}, timeout=300
        ) as admin,
    ):
        refused = await admin.post("/forget-requests", params={"wait": "active"}, json=HARRY_POTTER)
        assert refused.status_code == 409, refused.text
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("missing_capability", "policy")
        named = re.search(r"This policy would work: (\{[^}]*\})", error["message"])
        assert named is not None, error["message"]
        works = json.loads(named[1])
        assert works["high"] == ["decline"]

        known = await asyncio.gather(*map(chat, asked))
        assert authors(known)[0]
        before = await asyncio.gather(*map(chat, UNRELATED))
        created = await admin.post(
            "/forget-requests", params={"wait": "active"}, json={**HARRY_POTTER, "policy": works}
        )
        assert created.status_code == 201, created.text
        assert created.json()["state"] == "active"
        told = await asyncio.gather(*map(chat, asked))
        after = await asyncio.gather(*map(chat, UNRELATED))
    assert [answer for answer, names in zip(told, authors(told), strict=True) if names] == []
    assert all(answer.text for answer in told)
    assert [pair for pair in zip(before, after, strict=True) if not pair[1].agrees_with(pair[0])] == []
