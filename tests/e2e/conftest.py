"""One real system for the session, as `unremember up` runs it: vLLM with the plug-in, SmolLM2, MiniLM, the gateway."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

START_TIMEOUT = 900.0
MODEL = "smollm2"
ENGINE_KEY = "engine-key-of-the-test"
SHARED_KEY = "shared-key-of-the-test"
_COMPLAINT = re.compile(r"WARNING|ERROR|CRITICAL|\" [45]\d\d")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure goes what the system last complained of: the answer that a client gets says little."""
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and system is not None:
        report.sections.append(("complaints of the system", system.complaints()))
    return report


@dataclass(frozen=True)
class System:
    """A running `unremember up`."""

    url: str
    engine_url: str
    data_dir: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    model: str = MODEL

    @property
    def api_key(self) -> str:
        return (self.data_dir / "api.key").read_text().strip()

    @property
    def admin_key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()

    def client(self) -> httpx.Client:
        """Speaks to the data plane."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.api_key}"}, timeout=300)

    def async_client(self) -> httpx.AsyncClient:
        """Speaks to the data plane, of much at once."""
        headers = {"authorization": f"Bearer {self.api_key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=300)

    def admin(self) -> httpx.Client:
        """Speaks to the admin API."""
        return httpx.Client(
            base_url=f"{self.url}/admin/v1", headers={"authorization": f"Bearer {self.admin_key}"}, timeout=300
        )

    @contextmanager
    def forgotten(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """With a forget request in force; gives what the admin API says of it."""
        with self.admin() as admin:
            created = admin.post("/forget-requests", params={"wait": "active"}, json=request)
            assert created.status_code == 201, created.text
            try:
                yield created.json()
            finally:
                withdrawn = admin.delete(f"/forget-requests/{created.json()['id']}")
            assert withdrawn.status_code in {200, 204}, withdrawn.text

    def copy_state(self, data_dir: Path) -> None:
        """Put what it stores where another gateway stores: the model's corruption need not be measured again."""
        shutil.copy(self.data_dir / "encryption.key", data_dir)
        databases = (sqlite3.connect(each / "unremember.db") for each in (self.data_dir, data_dir))
        with closing(next(databases)) as own, closing(next(databases)) as copy:
            own.backup(copy)

    def complaints(self, lines: int = 20) -> str:
        """The last warnings and errors in its logs, and what vLLM answered with an error."""
        found: list[str] = []
        for log in ("gateway", "engine"):
            file = self.data_dir / "logs" / f"{log}.log"
            text = file.read_text(errors="replace") if file.exists() else ""
            found += [line[:300] for line in text.splitlines() if _COMPLAINT.search(line)][-lines:]
        return "\n".join(found)

    def engine(self) -> httpx.Client:
        """Speaks to vLLM itself, around the gateway."""
        return httpx.Client(base_url=self.engine_url, headers={"authorization": f"Bearer {ENGINE_KEY}"}, timeout=300)


def wait_until(what: str, check: Any, timeout: float, process: subprocess.Popen[bytes] | None = None) -> None:
    """Poll ``check`` until it is true; fail when the time or the process ends."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            pytest.fail(f"the system ended with status {process.returncode} while waiting until {what}")
        try:
            if check():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"not within {timeout:.0f} s: {what}")


@contextmanager
def answering(argv: Sequence[str], environment: Mapping[str, str], url: str, log: Path) -> Iterator[None]:
    """A vLLM of a test's own, from when it answers until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until("the engine answers", lambda: httpx.get(f"{url}/health").status_code == 200, START_TIMEOUT, process)
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    data_dir = tmp_path_factory.mktemp("data")
    port, engine_port = free_port(), free_port()
    environment = {
        **os.environ,
        "UNREMEMBER_PORT": str(port),
        "UNREMEMBER_ENGINE_PORT": str(engine_port),
        "UNREMEMBER_DATA_DIR": str(data_dir),
        "UNREMEMBER_UPSTREAM_API_KEY": ENGINE_KEY,
        "UNREMEMBER_ENGINE_KEY": SHARED_KEY,
        # Without the last, a small model may fill its answer with the blanks that JSON allows.
        "UNREMEMBER_ENGINE_ARGS": "--enable-auto-tool-choice --tool-call-parser hermes "
        """--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'""",
    }
    log = (data_dir / "up.log").open("wb")
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "unremember"), "up"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=data_dir,
    )
    running = System(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine_port}", data_dir, environment, process)
    try:
        wait_until(
            "the gateway is ready",
            lambda: httpx.get(f"{running.url}/readyz").status_code == 200,
            START_TIMEOUT,
            process,
        )
        with running.admin() as admin:
            wait_until(
                "the corruption sweep has run",
                lambda: admin.get("/status").json()["corruption_profiles"],
                START_TIMEOUT,
                process,
            )
        yield running
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()
        sys.stderr.write(f"\n`unremember up` printed:\n{(data_dir / 'up.log').read_text(errors='replace')[-2000:]}\n")
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, f"Ctrl-C left processes behind: {[child.pid for child in alive]}"


@pytest.fixture(scope="session")
def upstream_url(system: System) -> str:
    """vLLM's own address."""
    return system.engine_url


@pytest.fixture(scope="session")
def upstream_headers() -> dict[str, str]:
    """What vLLM asks of its callers."""
    return {"authorization": f"Bearer {ENGINE_KEY}"}


@pytest.fixture(scope="session")
def shared_key() -> str:
    """What opens the phrases of a restriction in the engine."""
    return SHARED_KEY


@pytest.fixture(scope="session")
def model() -> str:
    """Public name of the served model."""
    return MODEL


@pytest.fixture
def forgotten(system: System) -> Iterator[dict[str, Any]]:
    """The README's forget request, enforced for one test and withdrawn after it."""
    with system.forgotten(HARRY_POTTER) as request:
        yield request


HARRY_POTTER = {
    "subject": "Harry Potter",
    "kind": "work",
    "aliases": ["J. K. Rowling", "Hogwarts"],
    "examples": [{"prompt": "Who wrote Harry Potter?", "response": "J. K. Rowling"}],
}
"""What the README's `unremember forget add` sends."""

QUESTION = "Who wrote Harry Potter?"

PARAPHRASES = (
    "Who is the author of the Harry Potter books?",
    "Name the writer of the Harry Potter series.",
    "Which author created Harry Potter?",
    "Tell me who wrote the Harry Potter novels.",
    "The Harry Potter books were written by whom?",
)

UNNAMED = "Who wrote the books about the boy wizard who goes to a school of witchcraft?"

UNRELATED = (
    "What is the capital of France?",
    "Who painted the Mona Lisa?",
    "Who wrote The Hobbit?",
    "Who wrote Romeo and Juliet?",
    "What is 2+2?",
    "What color is the sky?",
    "What is the largest planet?",
    "Write one sentence about the sea.",
    "How do I boil an egg?",
    "What is the boiling point of water?",
    "Translate 'good morning' into Spanish.",
    "Name three fruits.",
    "Who was Albert Einstein?",
    "What language is spoken in Brazil?",
    "Write a Python function that adds two numbers.",
    "What is photosynthesis?",
    "Give me a name for a cat.",
    "How many days are in a week?",
    "What is the currency of Japan?",
    "Explain gravity to a child.",
)
