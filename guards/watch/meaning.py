"""Sentences that say what is to be forgotten in other words: GUARD's semantic match, by sentence and not by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from guards.detect.thresholds import neyman_pearson_threshold
from guards.scope import Mode

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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

    def say(self, vector: NDArray[np.float32]) -> bool:
        """Whether the sentence embedded as ``vector`` [dimension] says one of them."""
        near = self._said @ vector
        said = np.any((near > self._level) & (~self._asked | (near > self._questions @ vector)))
        return bool(said)


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

    def judges(self, request_ids: Collection[str]) -> bool:
        """Whether any of these requests has statements."""
        return any(request_id in self._scopes for request_id in request_ids)

    async def first_told(self, sentences: Sequence[str], request_ids: Collection[str]) -> tuple[int, str] | None:
        """The first sentence that says a statement of one of these requests, and the request. Raises CannotDecide."""
        vectors = await self._encoder.encode(sentences)
        for place, vector in enumerate(vectors):
            for request_id in request_ids:
                statements = self._statements(request_id)
                if statements is not None and statements.say(vector):
                    return place, request_id
        return None

    def _statements(self, request_id: str) -> Statements | None:
        scope = self._scopes.get(request_id)
        if scope is None:
            return None
        if request_id not in self._ready:
            self._ready[request_id] = Statements(
                scope, self._background, alpha=self._alpha, confidence=self._confidence
            )
        return self._ready[request_id]
