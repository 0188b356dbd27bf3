"""When vLLM dies it is restarted, and the gateway is not ready meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import psutil

from tests.e2e.conftest import HARRY_POTTER, QUESTION, wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import System


def engine_processes(system: System) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(system.process.pid).children(recursive=True)
        if any("vllm" in part.casefold() for part in child.cmdline())
    ]


def test_a_dead_engine_is_restarted_and_still_forgets(system: System) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 24}
    with system.client() as client, system.forgotten(HARRY_POTTER):
        for process in engine_processes(system):
            process.kill()
        wait_until(
            "the gateway says it is not ready",
            lambda: httpx.get(f"{system.url}/readyz").status_code == 503,
            30,
            system.process,
        )
        refused = client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["type"] == "service_unavailable_error"
        wait_until("vLLM is back", lambda: httpx.get(f"{system.url}/readyz").status_code == 200, 300, system.process)
        wait_until(
            "the plug-in is proven again",
            lambda: client.post("/v1/chat/completions", json=body).status_code == 200,
            60,
            system.process,
        )
        answer = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
        assert "rowling" not in answer.casefold()
