"""What the gateway needs of a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guards.plan import Detection, Segment, Span


class Detects(Protocol):
    """Finds what is asked about, and names wherever they stand."""

    async def detect(self, segments: Sequence[Segment]) -> list[Detection]:
        """The scopes that a request reaches, by what asks in it, and in the low band by what is supplied."""
        ...

    def names(self, request_ids: Sequence[str], segments: Sequence[Segment]) -> list[Span]:
        """Where names of some requests' scopes stand, in any segment: asking or supplied."""
        ...
