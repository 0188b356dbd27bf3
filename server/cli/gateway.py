"""Runs the gateway's HTTP servers in this process, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from server.cli.errors import CliError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from server.settings import Settings

DRAIN = 30
"""Seconds that answers under way may take to end after a Ctrl-C."""

# Seconds. Longer than load balancers and clients keep an idle connection, so that it is they who close it:
# a request sent into a connection that is being closed is lost.
_KEEP_ALIVE = 75


class _Server(uvicorn.Server):
    """One of several servers: signals are for whoever runs them all."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Servers:
    """The data plane and, on a port of its own where one is set, the admin API."""

    def __init__(self, servers: list[tuple[_Server, socket.socket]], loading: Awaitable[None]) -> None:
        self._servers = servers
        self._loading = loading
        self._tasks = [
            asyncio.create_task(server.serve(sockets=[listener]), name=f"port {listener.getsockname()[1]}")
            for server, listener in servers
        ]

    def stop(self) -> None:
        """Take no new requests and let those under way end; at the second call, do not wait for them."""
        for server, _ in self._servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    async def loaded(self) -> None:
        """Return when all parts of the gateway stand; it answers with 503 until then.

        Raises:
            CliError: they do not, and why.
        """
        try:
            await self._loading
        except RuntimeError as error:
            where = "Its log says more: logs/gateway.log in the data directory, or what stands above."
            raise CliError(f"The gateway did not start: {error}. {where}") from None

    async def ended(self) -> None:
        """Return when every server has stopped. One that ends ends the others."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Servers]:
    """The servers of a gateway with these settings, listening.

    Raises:
        CliError: a port is taken.
    """
    # Imports torch: seconds, during which the engine's start is watched.
    module = await asyncio.to_thread(importlib.import_module, "server.app")
    app: FastAPI = module.create_app(settings)
    async with app.router.lifespan_context(app):
        servers = [(_server(app), listen(settings.host, settings.port, "UNREMEMBER_PORT"))]
        if own_admin_port(settings):
            admin = listen(settings.host, own_admin_port(settings), "UNREMEMBER_ADMIN_PORT")
            servers.append((_server(module.create_admin_app(app)), admin))
        gateway = Servers(servers, module.started(app))
        try:
            yield gateway
        finally:
            gateway.stop()
            await gateway.ended()


def own_admin_port(settings: Settings) -> int:
    """The port of the admin API where it has one of its own, else 0."""
    return settings.admin_port if settings.admin_port and settings.admin_port != settings.port else 0


def check_ports(settings: Settings, *, engine: bool) -> None:
    """Raises CliError where a port to listen on is taken: before anything is started that takes time."""
    wanted = [(settings.host, settings.port, "UNREMEMBER_PORT")]
    if own_admin_port(settings):
        wanted.append((settings.host, own_admin_port(settings), "UNREMEMBER_ADMIN_PORT"))
    if engine:
        wanted.append(("127.0.0.1", settings.engine_port, "UNREMEMBER_ENGINE_PORT"))
    for host, port, setting in wanted:
        listen(host, port, setting).close()


def _server(app: FastAPI) -> _Server:
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    return _Server(config)


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A socket that listens.

    Raises:
        CliError: it cannot, and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        remedy = f"Stop what listens there, or choose another with {setting}."
        raise CliError(f"Port {port} on {host} cannot be used: {error.strerror}. {remedy}") from None


def run(main: Callable[[Callable[[Callable[[], None]], None]], Awaitable[None]]) -> None:
    """Run ``main`` on uvloop until it returns, with Ctrl-C and SIGTERM as the orderly ways to end it.

    ``main`` gets a function to say what a signal should do from now on; until then it is cancelled.
    """

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            task.cancel()

        on_signal: list[Callable[[], None]] = [cancel]

        def use(handler: Callable[[], None]) -> None:
            on_signal[0] = handler

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, lambda: on_signal[0]())
        with contextlib.suppress(asyncio.CancelledError):
            await main(use)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervised())


def configure_logging(settings: Settings, *, file: bool) -> None:
    """Log to standard error, or to ``logs/gateway.log`` with only warnings on standard error."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    terminal = logging.StreamHandler()
    handlers: list[logging.Handler] = [terminal]
    if file:
        log = log_file(settings)
        log.parent.mkdir(parents=True, exist_ok=True)
        terminal.setLevel(logging.WARNING)
        terminal.setFormatter(_Brief(form))
        handlers.append(logging.FileHandler(log))
    logging.basicConfig(level=settings.log_level.upper(), format=form, handlers=handlers, force=True)


def log_file(settings: Settings) -> Path:
    """Where ``unremember up`` logs."""
    return settings.data_dir / "logs" / "gateway.log"


class _Brief(logging.Formatter):
    """Leaves tracebacks to the file."""

    def formatException(self, ei: object) -> str:  # noqa: N802  (logging's name)
        return ""
