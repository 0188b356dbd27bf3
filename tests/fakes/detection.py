"""A detector and a compiler without a model: a scope is found where its names or texts stand."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from guards.phrases.derivation import derive
from guards.plan import Band, Detection, Evidence
from guards.scope import Alias, Items, Mode, Policy, Scope, Source, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.plan import Segment

ENCODER = "fake-encoder"
VAULT_KEY = bytes(range(32))
DIMENSION = 8


def vectors(texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Unit rows [n, DIMENSION] that depend on nothing but the texts."""
    rows = np.array(
        [list(hashlib.sha256(text.encode()).digest()[:DIMENSION]) for text in texts], dtype=np.float32
    ).reshape(len(texts), DIMENSION)
    norms = np.linalg.norm(rows + 1, axis=1, keepdims=True)
    return ((rows + 1) / norms).astype(np.float32)


def make_scope(
    source: Source, *, request_id: str, version: int, mode: Mode, policy: Policy, encoder: str = ENCODER
) -> Scope:
    forget = [example.response for example in source.examples]
    forget += [item.input for item in source.corrections if item.in_scope]
    retain = [example.response for example in source.retain_examples]
    retain += [item.input for item in source.corrections if not item.in_scope]
    derived = derive(source, ())
    return Scope(
        request_id=request_id,
        version=version,
        subject=source.subject,
        kind=source.kind,
        extent=source.extent,
        mode=mode,
        policy=policy,
        aliases=tuple(Alias(text, 0.0001) for text in source.aliases),
        forget=Items(tuple(forget), vectors(forget)),
        retain=Items(tuple(retain), vectors(retain)),
        high=Threshold(0.9, 0.001, 0.95, 3_100),
        low=Threshold(0.6, 0.01, 0.95, 3_100),
        encoder=encoder,
        phrases=derived.phrases,
        associated=derived.associated,
        shingles=derived.shingles,
        warnings=() if source.examples else ("Given a subject alone, detection is weaker.",),
    )


class FakeCompiler:
    """Compiles at once, or after ``gate`` opens; raises what is in ``failures`` first."""

    def __init__(self, encoder: str = ENCODER) -> None:
        self.encoder = encoder
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.compiled: list[tuple[str, int]] = []

    async def __call__(self, source: Source, *, request_id: str, version: int, mode: Mode, policy: Policy) -> Scope:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.compiled.append((request_id, version))
        return make_scope(
            source, request_id=request_id, version=version, mode=mode, policy=policy, encoder=self.encoder
        )


class FakeDetector:
    """Holds scopes by request."""

    def __init__(self) -> None:
        self.held: dict[str, Scope] = {}

    @property
    def index_vectors(self) -> int:
        return sum(len(scope.forget.texts) + len(scope.retain.texts) for scope in self.held.values())

    def apply(self, scope: Scope) -> None:
        self.held[scope.request_id] = scope

    def remove(self, request_id: str) -> None:
        self.held.pop(request_id, None)

    async def explain(self, segments: Sequence[Segment]) -> tuple[list[Detection], dict[str, float]]:
        found = [_judge(scope, segments) for scope in self.held.values()]
        return sorted(found, key=lambda detection: -detection.probability)[:20], {"lexical": 0.1}


def _judge(scope: Scope, segments: Sequence[Segment]) -> Detection:
    text = "\n".join(segment.text for segment in segments)
    names = [scope.subject, *(alias.text for alias in scope.aliases)]
    named = any(name.casefold() in text.casefold() for name in names)
    high = (named or text in scope.forget.texts) and text not in scope.retain.texts
    probability = 0.97 if high else 0.02
    return Detection(
        request_id=scope.request_id,
        version=scope.version,
        mode=scope.mode,
        policy=scope.policy,
        probability=probability,
        band=Band.HIGH if high else Band.CLEAR,
        threshold=scope.high.probability,
        margin=probability - scope.high.probability,
        segments=tuple(range(len(segments))) if high else (),
        spans=(),
        evidence=Evidence(
            matched=text,
            alias=scope.subject if named else "",
            nearest_forget=next(iter(scope.forget.texts), ""),
            nearest_forget_similarity=0.8,
            nearest_retain="",
            nearest_retain_similarity=0.0,
            ood_score=0.0,
            would_change="Nothing in a fake.",
        ),
    )
