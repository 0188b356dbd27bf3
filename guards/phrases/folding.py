"""How characters are folded before phrases are matched: as inside the engine, which imports nothing else of ours."""

from __future__ import annotations

from guards.engine.folding import BLANKLESS, INVISIBLE, fold, look_alike, spellings

__all__ = ["BLANKLESS", "INVISIBLE", "fold", "look_alike", "spellings"]
