"""The gateway alone, in front of a vLLM that it did not start: the demonstration, the doctor, the commands to try."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def environment(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """That of `unremember serve` in front of the session's vLLM, while it runs."""
    tmp_path = tmp_path_factory.mktemp("serve")
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
        "UNREMEMBER_SERVED_MODEL_NAME": system.model,
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


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_the_demonstration_tells_its_story(environment: dict[str, str]) -> None:
    shown = run(environment, UNREMEMBER, "demo", "--tokens", "20")
    assert shown.returncode == 0, f"{shown.stdout}\n{shown.stderr}"
    assert "Rowling" in shown.stdout
    assert "withdrawn, it is back" in shown.stdout


def test_the_doctor_finds_everything_in_order(system: System, environment: dict[str, str]) -> None:
    told = run(environment, UNREMEMBER, "doctor")
    assert told.returncode == 0, f"{told.stdout}\n{told.stderr}"
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in told.stdout.splitlines() if "│" in line]
    found = {(grade, what): text for grade, what, text in rows if grade}
    assert "wrong" not in {grade for grade, _ in found}
    assert found["fine", "upstream"] == f"{system.engine_url} serves {system.model}"
    assert found["fine", "tokenizer"] == environment["UNREMEMBER_TOKENIZER"]
    assert found["fine", "calibration"] == "the detector is calibrated"
    assert found["fine", "database"] == "sqlite answers"
    assert found["fine", "gateway"] == f"ready at http://127.0.0.1:{environment['UNREMEMBER_PORT']}"
    assert found["fine", "plug-in, proven"] == "every upstream corrupts when asked"
    assert found["fine", "restriction, proven"] == "every upstream keeps phrases out when asked"
    assert "0 active forget requests" in found["fine", "registry"]
    assert {"versions", "disk", "encoder"} <= {what for _, what in found}


def test_the_doctor_says_what_is_wrong(environment: dict[str, str]) -> None:
    told = run(environment | {"UNREMEMBER_UPSTREAM_API_KEY": "another"}, UNREMEMBER, "doctor")
    assert told.returncode == 1, f"{told.stdout}\n{told.stderr}"
    assert "refuses the key" in told.stdout
    assert "Set UNREMEMBER_UPSTREAM_API_KEY" in told.stdout


def test_the_commands_that_a_start_prints_do_what_they_are_for(environment: dict[str, str]) -> None:
    data_dir = Path(environment["UNREMEMBER_DATA_DIR"])
    log = data_dir.parent / "serve.log"
    wait_until("the commands to try are printed", lambda: "Ctrl-C stops everything" in log.read_text(), 30)
    printed = log.read_text().partition("Try, in another terminal:\n")[2].splitlines()
    lines = [line for line in printed if line.startswith("  ")]  # what is logged meanwhile is not indented
    assert len(lines) == 3, printed
    outputs = []
    try:
        for line in lines:
            # As somebody types it, in whatever directory, with the same settings.
            done = run(environment, "bash", "-euo", "pipefail", "-c", line)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            outputs.append(done.stdout)
    finally:
        headers = {"authorization": f"Bearer {(data_dir / 'admin.key').read_text().strip()}"}
        url = f"http://127.0.0.1:{environment['UNREMEMBER_PORT']}/admin/v1"
        with httpx.Client(base_url=url, headers=headers, timeout=300) as admin:
            for one in admin.get("/forget-requests", params={"state": "active"}).json()["data"]:
                assert admin.delete(f"/forget-requests/{one['id']}").is_success
    before, forgotten, after = outputs
    said = [json.loads(answer)["choices"][0]["message"]["content"] for answer in (before, after)]
    assert "Rowling" in said[0]
    assert "is active" in forgotten
    assert "Rowling" not in said[1]
