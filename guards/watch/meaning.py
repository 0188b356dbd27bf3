"""Sentences that say what is to be forgotten in other words: GUARD's semantic match, by sentence and not by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from guards.detect.thresholds import neyman_pearson_threshold
from guards.detect.windows import sentences
from guards.scope import Context, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from guards.scope import Scope


class Encodes(Protocol):
    """What is needed of an encoder queue."""

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dimension] of unit length. Raises CannotDecide."""
        ...


class Statements:
    """What the forget items of one scope say, and how near a sentence must come to say it too.

    A sentence on the subject is near to all of them. It says one of them if it is nearer to it than what
    has the subject in common with it and not what it says: than its own question, or, where there is none,
    than any other statement of the scope; nearer to it than to that question; and nearer than all but a
    share ``alpha`` of ordinary text, with ``confidence``.
    """

    def __init__(self, scope: Scope, background: NDArray[np.float32], *, alpha: float, confidence: float) -> None:
        vectors = scope.forget.vectors.astype(np.float32)
        items = [statement.item for statement in scope.statements]
        asked = [statement.question for statement in scope.statements]
        self._said = vectors[items]
        self._asked = np.array([question is not None for question in asked])
        self._questions = vectors[
            [item if question is None else question for item, question in zip(items, asked, strict=True)]
        ]
        ordinary = (background @ self._said.T).max(axis=1).astype(np.float64)
        floor = neyman_pearson_threshold(ordinary, alpha=alpha, confidence=confidence).probability
        others = self._said @ self._said.T
        np.fill_diagonal(others, -1.0)
        own = np.einsum("ij,ij->i", self._said, self._questions)
        self._level = np.maximum(np.where(self._asked, own, others.max(axis=1)), floor)

    def said(self, vector: NDArray[np.float32]) -> frozenset[int]:
        """Which of them the sentence embedded as ``vector`` [dimension] says, by their places."""
        near = self._said @ vector
        told = (near > self._level) & (~self._asked | (near > self._questions @ vector))
        return frozenset(np.flatnonzero(told).tolist())


class Meaning:
    """Judges sentences against the statements of scopes. Lives on the event loop's thread.

    Args:
        background: embeddings of ordinary text, float32 [n, dimension], unit rows.
        alpha, confidence: of ordinary text, at most this share says a statement.
    """

    def __init__(self, encoder: Encodes, background: NDArray[np.float32], *, alpha: float, confidence: float) -> None:
        self._encoder = encoder
        self._background = background
        self._alpha = alpha
        self._confidence = confidence
        self._scopes: dict[str, Scope] = {}
        self._ready: dict[str, Statements] = {}

    async def apply(self, scope: Scope) -> None:
        """Judge by ``scope`` from now on, in place of any other version of its request."""
        self.remove(scope.request_id)
        if scope.mode is Mode.ENFORCE and scope.statements:
            self._scopes[scope.request_id] = scope

    def remove(self, request_id: str) -> None:
        """Judge by the scope of ``request_id`` no more; unknown ids are ignored."""
        self._scopes.pop(request_id, None)
        self._ready.pop(request_id, None)

    def judge(
        self, request_ids: Collection[str], own: Callable[[], Sequence[str]], context: Context | None = None
    ) -> Judge:
        """A judge of the answers to one request.

        Args:
            request_ids: the requests that something in the prompt asks about.
            own: the texts of the client's own request, read only where a sentence says a statement.
            context: how text that the client supplies itself is treated, instead of as each scope says.
        """
        return Judge(self, [one for one in request_ids if one in self._scopes], own, context)

    async def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dimension] of unit length. Raises CannotDecide."""
        return await self._encoder.encode(sentences)

    def said(self, request_id: str, vector: NDArray[np.float32]) -> frozenset[int]:
        """The statements of a request that a sentence says, by their places; of one that is no more, none."""
        statements = self._statements(request_id)
        return frozenset() if statements is None else statements.said(vector)

    def context(self, request_id: str) -> Context | None:
        """How a request treats text that clients supply."""
        scope = self._scopes.get(request_id)
        return None if scope is None else scope.policy.context

    def _statements(self, request_id: str) -> Statements | None:
        scope = self._scopes.get(request_id)
        if scope is None:
            return None
        if request_id not in self._ready:
            self._ready[request_id] = Statements(
                scope, self._background, alpha=self._alpha, confidence=self._confidence
            )
        return self._ready[request_id]


class Judge:
    """Judges the sentences of the answers to one request. What its client states itself may be repeated."""

    def __init__(
        self, meaning: Meaning, request_ids: Sequence[str], own: Callable[[], Sequence[str]], context: Context | None
    ) -> None:
        self._meaning = meaning
        self._request_ids = request_ids
        self._own = own
        self._context = context
        self._stated: dict[str, frozenset[int]] = {}
        self._vectors: NDArray[np.float32] | None = None

    def __bool__(self) -> bool:
        return bool(self._request_ids)

    async def first_told(self, texts: Sequence[str]) -> tuple[int, str] | None:
        """The first sentence that says a statement, and the request that it belongs to. Raises CannotDecide."""
        for place, vector in enumerate(await self._meaning.encode(texts)):
            for request_id in self._request_ids:
                told = self._meaning.said(request_id, vector)
                if told and not told <= await self._may_repeat(request_id):
                    return place, request_id
        return None

    async def _may_repeat(self, request_id: str) -> frozenset[int]:
        """The statements that the client's own request says."""
        if (self._context or self._meaning.context(request_id)) is not Context.SUPPLIED:
            return frozenset()
        if request_id not in self._stated:
            if self._vectors is None:
                own = [text[one.start : one.end] for text in self._own() for one in sentences(text)]
                self._vectors = await self._meaning.encode(own)
            said = (self._meaning.said(request_id, vector) for vector in self._vectors)
            self._stated[request_id] = frozenset().union(*said)
        return self._stated[request_id]
