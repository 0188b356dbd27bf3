"""Asking a real vLLM: much at once, because it batches what runs together; and comparing answers of other batches."""

from __future__ import annotations

import asyncio
import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import pytest

UNPOOLED = httpx.Limits(max_keepalive_connections=0)
"""For clients of vLLM itself: its server drops idle connections after seconds."""
CLIENTS = 24
TIE = 0.01
"""Two tokens whose log-probabilities differ by less are told apart by the shape of a batch, not by the model."""


def at_once(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A parametrised test whose cases all begin with the first, some at a time, and end each in its own test.

    Its fixtures must serve all cases: those of a module or a session.
    """
    begun: dict[str, asyncio.Task[None]] = {}

    @functools.wraps(test)
    async def case(request: pytest.FixtureRequest, **arguments: Any) -> None:
        if not begun:
            slots = asyncio.Semaphore(CLIENTS)

            async def one(parameters: dict[str, Any]) -> None:
                async with slots:
                    await test(**arguments | parameters)

            for item in request.session.items:
                if (item.parent, item.originalname) == (request.node.parent, request.node.originalname):
                    begun[item.nodeid] = asyncio.create_task(one(item.callspec.params))
            request.node.parent.addfinalizer(lambda: [task.cancel() for task in begun.values()])
        await begun[request.node.nodeid]

    own = inspect.signature(test)
    added = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY)
    case.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
    return case


@dataclass(frozen=True)
class Answer:
    """A greedy answer, with the tokens that it is made of and how far ahead of the next best each was."""

    text: str
    tokens: Sequence[tuple[str, float]]

    @classmethod
    def of_chat(cls, choices: Sequence[dict[str, Any]]) -> Answer:
        """Of one choice: whole, or the pieces of its stream. Asked for with ``SCORED``."""
        told = [choice.get("delta") or choice.get("message") or {} for choice in choices]
        scored = [token for choice in choices for token in (choice.get("logprobs") or {}).get("content") or ()]
        return cls("".join(one.get("content") or "" for one in told), [_ahead(token) for token in scored])

    def agrees_with(self, other: Answer) -> bool:
        """The same words, or the same until two were a tie."""
        if self.text == other.text:
            return True
        for mine, others in zip(self.tokens, other.tokens, strict=False):
            if mine[0] != others[0]:
                return max(mine[1], others[1]) < TIE
        return False


SCORED: dict[str, Any] = {"logprobs": True, "top_logprobs": 2}


def _ahead(token: dict[str, Any]) -> tuple[str, float]:
    best, second = sorted((one["logprob"] for one in token["top_logprobs"]), reverse=True)
    return token["token"], best - second
