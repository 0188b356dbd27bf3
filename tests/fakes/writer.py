"""A process that asks for things to be forgotten, for a test to kill: ``python -m tests.fakes.writer URL``."""

from __future__ import annotations

import asyncio
import itertools
import sys

from guards.scope import Example, Extent, Kind, Mode, Source, default_policy
from server.admin.forgetting import Forgetting
from server.registry.registry import Registry
from server.upstream.capabilities import Capabilities
from server.vault import Vault
from tests.fakes.detection import ENCODER, VAULT_KEY, FakeCompiler, FakeDetector

POLICY = default_policy(Kind.PERSON, Extent.KNOWLEDGE)


async def main(url: str) -> None:
    """Print each promise once it is made: what is created, what is withdrawn."""
    registry = await Registry.open(url, Vault(VAULT_KEY))
    capabilities = Capabilities(corrupt=True, restrict=True)
    forgetting = Forgetting(registry, FakeDetector(), FakeCompiler(), lambda: capabilities, encoder=ENCODER)
    await forgetting.start()

    async def write(lane: int) -> None:
        for number in itertools.count():
            source = Source(f"{lane} {number}", Kind.PERSON, examples=(Example("", "x" * 2_000),))
            record = await forgetting.create(source, mode=Mode.ENFORCE, policy=POLICY)
            print("created", record.id, flush=True)
            if number % 4 == 3:
                await forgetting.withdraw(record.id)
                print("withdrawn", record.id, flush=True)

    await asyncio.gather(*(write(lane) for lane in range(4)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
