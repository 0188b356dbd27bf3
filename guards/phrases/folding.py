"""How characters are folded before phrases are matched: as inside the engine, which imports nothing else of ours."""

from __future__ import annotations

from guards.engine.folding import BLANKLESS, fold, is_accent, is_seen, look_alike, spellings

__all__ = ["BLANKLESS", "fold", "is_accent", "is_seen", "look_alike", "spellings"]
