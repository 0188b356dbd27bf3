"""Sampled answers about what is forgotten, and ordinary prompts meanwhile. At full size in ``benchmarks/leaks.py``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.sampling import SUBJECTS, Admin, Side, each, sampled, undisturbed
from benchmarks.utility import utility_prompts
from tests.e2e.conftest import ENGINE_KEY, MODEL

if TYPE_CHECKING:
    from tests.e2e.conftest import System

SAMPLES, BARE, TOKENS, CLIENTS = 24, 12, 24, 8
PROMPTS = utility_prompts()[::21]
"""Of each of their ten groups, which take turns."""
BORDERLINE = 2
"""So many of them may be restricted, of which nothing is seen: some are written to be near."""


async def test_nothing_forgotten_leaves_and_nothing_else_is_changed(system: System) -> None:
    # vLLM's server drops idle connections after seconds.
    connector, timeout = aiohttp.TCPConnector(force_close=True), aiohttp.ClientTimeout(total=500)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        admin = Admin(session, system.url, system.admin_key)
        gateway = Side("gateway", session, system.url, system.api_key, MODEL)
        bare = Side("upstream", session, system.engine_url, ENGINE_KEY, MODEL)
        async with admin.forgotten(SUBJECTS) as questions:
            samples, told, answers = await asyncio.gather(
                each(SAMPLES, lambda number: sampled(gateway, number * 5, questions, TOKENS, admin), CLIENTS),
                each(BARE, lambda number: sampled(bare, number * 5, questions, TOKENS), CLIENTS),
                each(
                    len(PROMPTS),
                    lambda number: undisturbed(gateway, bare, admin, number, PROMPTS, TOKENS),
                    CLIENTS,
                ),
            )
    assert {one.way for one in samples} == {one.way for one in samples + told}
    assert [one for one in samples if one.leaks or not one.recognised] == []
    # By chance the bare model may tell nothing in so few samples; benchmarks/leaks.py counts.
    print(f"bare model: {sum(bool(one.leaks) for one in told)} of {len(told)} told it")
    both = [*zip(answers, PROMPTS, strict=True)]
    assert [(one, prompt) for one, prompt in both if one.differs and not one.own_differs] == []
    disturbed = [(one, prompt) for one, prompt in both if one.disturbed]
    assert len(disturbed) <= BORDERLINE, disturbed
