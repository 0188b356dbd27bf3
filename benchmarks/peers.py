"""Servers for ``benchmarks/overhead.py``: programs of our own, and other gateways where they are installed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.visits import Target, visit

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
MODEL = "fake-model"
START_TIMEOUT = 180.0


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def program(arguments: Sequence[str], port: int, **environment: str) -> AsyncIterator[str]:
    """Run a server until it is not needed any more; gives its URL once its port answers."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
            arguments,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            limit = time.monotonic() + START_TIMEOUT
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.poll() is not None or time.monotonic() > limit:
                    output.seek(0)
                    tail = output.read()[-2_000:].decode(errors="replace")
                    raise RuntimeError(f"{arguments[0]} did not start:\n{tail}")
                await asyncio.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            # The whole session: some servers leave workers behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def peers(stack: contextlib.AsyncExitStack, upstream: str, options: argparse.Namespace) -> list[Target]:
    """Other gateways before the same upstream, where their executables are installed."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    found = []
    for name, executable, prepare in (
        ("LiteLLM", shutil.which(options.litellm), litellm),
        ("NeMo Guardrails", shutil.which(options.nemo), nemo),
    ):
        if executable is None:
            print(f"{name:24} not installed")
            continue
        port = free_port()
        arguments, environment, extra = prepare(directory, upstream, port)
        key = environment.get("LITELLM_MASTER_KEY", "")
        try:
            url = await stack.enter_async_context(program([executable, *arguments], port, **environment))
        except RuntimeError as error:
            print(f"{name:24} left out: {error}")
        else:
            found.append(Target(name, url, MODEL, key=key, extra=extra, slow=True))
    return await usable(found)


Prepared = tuple[list[str], dict[str, str], dict[str, Any]]


def litellm(directory: Path, upstream: str, port: int) -> Prepared:
    """Arguments, environment and request fields of LiteLLM's proxy: one worker, no callbacks, no database."""
    config = directory / "litellm.yaml"
    served = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": served}]}))
    environment = {"LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)], environment, {}


def nemo(directory: Path, upstream: str, port: int) -> Prepared:
    """The same of NeMo Guardrails' server, with no rail in its configuration."""
    config = directory / "nemo" / "config.yml"
    config.parent.mkdir()
    model = {"type": "main", "engine": "openai", "model": MODEL, "parameters": {"base_url": f"{upstream}/v1"}}
    config.write_text(json.dumps({"models": [model]}))
    fields = {"config_id": "nemo", "guardrails": {"config_id": "nemo"}}
    return ["server", "--config", str(config.parent), "--port", str(port)], {"OPENAI_API_KEY": "none"}, fields


async def usable(targets: Sequence[Target]) -> list[Target]:
    """Those that answer a request in time; what keeps the others from it is printed."""
    good = []
    for target in targets:
        error: Exception | None = None
        limit = time.monotonic() + START_TIMEOUT
        while time.monotonic() < limit:
            try:
                await asyncio.wait_for(visit(target, 1, 1, first_byte=False, salt=0), 60)
                good.append(target)
                error = None
                break
            except (RuntimeError, OSError, TimeoutError) as failure:
                error = failure
                await asyncio.sleep(2)
        if error is not None:
            print(f"{target.name:24} left out: {error}")
    return good
