"""The gateway alone, in front of a vLLM that it did not start, and the demonstration on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.conftest import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import System

UNREMEMBER = str(Path(sys.executable).parent / "unremember")


@pytest.fixture
def environment(system: System, tmp_path: Path) -> Iterator[dict[str, str]]:
    """That of `unremember serve` in front of the session's vLLM, while it runs."""
    with system.engine() as engine:
        (card,) = engine.get("/v1/models").json()["data"]
    port = free_port()
    (tmp_path / "data").mkdir(0o700)
    system.copy_state(tmp_path / "data")
    environment = {
        **{name: value for name, value in system.environment.items() if name != "UNREMEMBER_ENGINE_ARGS"},
        "UNREMEMBER_PORT": str(port),
        "UNREMEMBER_DATA_DIR": str(tmp_path / "data"),
        "UNREMEMBER_UPSTREAMS": system.engine_url,
        "UNREMEMBER_TOKENIZER": card["root"],
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    with (tmp_path / "serve.log").open("wb") as log:
        gateway = subprocess.Popen([UNREMEMBER, "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_until("the gateway is ready", lambda: httpx.get(ready).status_code == 200, 120, gateway)
        yield environment
    finally:
        gateway.terminate()
        status = gateway.wait(60)
    assert status == 0, (tmp_path / "serve.log").read_text()


def test_the_demonstration_tells_its_story(environment: dict[str, str]) -> None:
    shown = subprocess.run(
        [UNREMEMBER, "demo", "--tokens", "20"], env=environment, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, f"{shown.stdout}\n{shown.stderr}"
    assert "Rowling" in shown.stdout
    assert "withdrawn, it is back" in shown.stdout
