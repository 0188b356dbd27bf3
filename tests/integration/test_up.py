"""`unremember up` as a process: what it prints, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@dataclass
class Up:
    """A started `unremember up`."""

    process: subprocess.Popen[str]
    directory: Path
    port: int
    admin_port: int

    def ended(self) -> str:
        """Everything it printed, once it has ended."""
        return self.process.communicate(timeout=30)[0]

    def engine(self) -> set[int]:
        return {int(path.stem) for path in self.directory.glob("*.pid")}

    def alive(self) -> set[int]:
        return {pid for pid in self.engine() if psutil.pid_exists(pid)}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def run(engine: str = "answer", app: str = "ready", **settings: str) -> Up:
        port, admin_port = free_port(), free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("UNREMEMBER_")},
            "UNREMEMBER_DATA_DIR": str(tmp_path / "data"),
            "UNREMEMBER_PORT": str(port),
            "UNREMEMBER_ADMIN_PORT": str(admin_port),
            "UNREMEMBER_ENGINE_PORT": str(free_port()),
            **{f"UNREMEMBER_{name.upper()}": value for name, value in settings.items()},
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.up", engine, app, str(tmp_path)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(Up(process, tmp_path, port, admin_port))
        return started[-1]

    yield run
    for up in started:
        up.process.kill()
        up.process.communicate()
        for pid in up.alive():
            os.kill(pid, signal.SIGKILL)


def wait(check: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end
        time.sleep(0.05)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_comes_up_says_what_to_try_and_goes_down(start: Callable[..., Up], how: signal.Signals) -> None:
    up = start(model="mine")
    wait(lambda: answers(up.port) and len(up.engine()) == 2)
    assert answers(up.admin_port)
    told = httpx.get(f"http://127.0.0.1:{up.port}/readyz").json()
    assert told["model"] == "mine"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["upstreams"][0])
    lines = []
    assert up.process.stdout
    while "Ctrl-C stops" not in (line := up.process.stdout.readline()):
        assert line
        lines.append(line)
    printed = "".join(lines)
    assert f"Unremember is ready at http://127.0.0.1:{up.port}/v1\n" in printed
    assert f"{up.directory}/data/admin.key\n" in printed
    assert printed.count("  curl -s ") == 2
    assert 'unremember forget add "Harry Potter" --kind work' in printed
    assert (up.directory / "data" / "admin.key").stat().st_mode & 0o777 == 0o600
    up.process.send_signal(how)
    assert "Stopping" in up.ended()
    assert up.process.returncode == 0
    assert up.alive() == set()


def test_a_ctrl_c_while_it_starts_leaves_nothing(start: Callable[..., Up]) -> None:
    up = start(engine="silent")
    wait(lambda: len(up.engine()) == 2)
    up.process.send_signal(signal.SIGINT)
    up.ended()
    assert up.alive() == set()


def test_a_sigkill_leaves_nothing(start: Callable[..., Up]) -> None:
    up = start()
    wait(lambda: answers(up.port) and len(up.engine()) == 2)
    up.process.kill()
    wait(lambda: up.alive() == set())


def test_an_engine_that_cannot_start_ends_it_with_one_sentence(start: Callable[..., Up]) -> None:
    up = start(engine="crash")
    printed = up.ended()
    assert up.process.returncode == 1
    assert "vLLM ended while it was starting: ValueError: No KV cache memory is left." in printed
    assert "Traceback" not in printed


def test_a_gateway_that_cannot_start_ends_it_with_one_sentence(start: Callable[..., Up]) -> None:
    up = start(app="broken")
    printed = up.ended()
    assert up.process.returncode == 1
    assert "The gateway did not start: SettingsError while opening the registry." in printed
    assert "Traceback" not in printed
    assert up.alive() == set()


def test_a_taken_port_is_named_before_anything_starts(start: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start(engine_port=str(port))
        assert re.search(rf"Port {port} on 127\.0\.0\.1 cannot be used: .*UNREMEMBER_ENGINE_PORT", up.ended())
    assert up.engine() == set()


def test_it_does_not_start_a_second_vllm(start: Callable[..., Up]) -> None:
    up = start(upstreams="http://127.0.0.1:1")
    assert "unremember serve" in up.ended()
    assert up.process.returncode == 1


def test_a_data_directory_that_cannot_be_used_is_named(start: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    up = start(data_dir=str(tmp_path / "file" / "data"))
    assert "UNREMEMBER_DATA_DIR" in up.ended()
    assert up.process.returncode == 1
