"""Waiting for what happens in the background."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Come back once the condition holds. Raises TimeoutError if it does not come about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is not the test's
            await asyncio.sleep(0.002)
