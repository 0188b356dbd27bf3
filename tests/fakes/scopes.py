"""Scopes that hold phrases and nothing to detect them by."""

from __future__ import annotations

import numpy as np

from guards.phrases.phrase import Phrase, PhraseClass
from guards.scope import Action, Context, Extent, Items, Kind, Mode, Policy, Scope, Threshold


def scope(
    *phrases: tuple[str, PhraseClass],
    context: Context = Context.SUPPLIED,
    mode: Mode = Mode.ENFORCE,
    request_id: str = "fr_1",
) -> Scope:
    """A scope of these phrases, each told by its first three fifths."""
    nothing = Items((), np.empty((0, 4), dtype=np.float32))
    threshold = Threshold(0.5, 0.001, 0.95, 1000)
    return Scope(
        request_id=request_id,
        version=1,
        subject="x",
        kind=Kind.RECORD,
        extent=Extent.KNOWLEDGE,
        mode=mode,
        policy=Policy((Action.DECLINE,), (), context),
        aliases=(),
        forget=nothing,
        retain=nothing,
        high=threshold,
        low=threshold,
        encoder="e",
        phrases=tuple(
            Phrase(text, kind, telling=len([each for each in text if each.isalnum()]) * 3 // 5)
            for text, kind in phrases
        ),
    )
