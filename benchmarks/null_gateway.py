"""The gateway's data plane with a detector that finds nothing, for ``benchmarks/overhead.py``.

What is measured through it is the gateway itself: no encoder, no database, no admin API.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from starlette.applications import Starlette

from guards.watch.meaning import Meaning
from guards.watch.watchlist import Watchlist
from server.api.chat import ChatCompletions
from server.api.completions import Completions
from server.api.endpoint import Limits
from server.auth import BearerKeys
from server.gateway.gateway import Gateway
from server.gateway.routes import data_routes
from server.settings import Settings
from server.telemetry import Telemetry
from server.upstream.client import UpstreamClient
from server.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from numpy.typing import NDArray

    from guards.plan import Detection, Segment, Span
    from server.registry.decisions import Decision


class NullEncoder:
    """Is never asked: nothing is flagged."""

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """No embeddings."""
        raise NotImplementedError


class NullDetector:
    """Finds nothing, at once."""

    async def detect(self, segments: Sequence[Segment]) -> list[Detection]:
        """No detection."""
        return []

    def names(self, request_ids: Sequence[str], segments: Sequence[Segment]) -> list[Span]:
        """No names."""
        return []


class NullLog:
    """Keeps nothing."""

    def record(self, decision: Decision) -> None:
        """Forget the decision."""


def build(upstream: str) -> Starlette:
    """The application. It connects when its lifespan begins."""
    keys = BearerKeys([os.environ["UNREMEMBER_BENCHMARK_KEY"]])

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        settings = Settings()
        telemetry = Telemetry()
        client = UpstreamClient(api_key=None, timeout=60, connections=2 * settings.max_in_flight)
        pool = Pool([upstream], client, telemetry, probe_interval=5, proof_interval=300)
        gateway = Gateway(
            detector=NullDetector(),
            watchlist=Watchlist(),
            meaning=Meaning(NullEncoder(), np.zeros((1, 1), dtype=np.float32), alpha=0.5, confidence=0.5),
            restriction=lambda phrases, associated: {},
            pool=pool,
            profiles=lambda model: None,
            decisions=NullLog(),
            telemetry=telemetry,
            settings=settings,
            salt_key=bytes(32),
            keys=keys,
        )
        app.router.routes += data_routes(gateway, [ChatCompletions(Limits()), Completions(Limits())], pool, keys)
        await pool.start()
        yield
        await pool.close()
        await client.close()

    return Starlette(lifespan=lifespan)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="base URL of the upstream")
    options = parser.parse_args()
    config = uvicorn.Config(
        build(options.upstream), loop="uvloop", http="httptools", port=options.port, access_log=False, log_level="error"
    )
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
