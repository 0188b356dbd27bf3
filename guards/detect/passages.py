"""A text as the detector reads it: its words, and its windows with their vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.detect.evidence import WindowText
from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guards.detect.windows import Window

# Characters of a text whose `Words` take as much memory as a vector of 384 dimensions.
_CHARACTERS_A_VECTOR = 128


@dataclass(frozen=True, slots=True)
class Passage:
    """What does not depend on any scope, so that it can be remembered.

    ``vectors`` is float32 [windows, dimension], unit rows.
    """

    words: Words
    windows: tuple[Window, ...]
    vectors: NDArray[np.float32]
    texts: tuple[WindowText, ...]

    @property
    def room(self) -> int:
        """What it takes to remember it, by `room_of`."""
        return room_of(len(self.windows), len(self.words.original))


def room_of(windows: int, characters: int) -> int:
    """What a text that was read takes to remember, in vectors of windows: its words take as much as these."""
    return 1 + windows + characters // _CHARACTERS_A_VECTOR


def make_passage(
    text: str, windows: Sequence[Window], vectors: NDArray[np.float32], words: Words | None = None
) -> Passage:
    """Put together what was read from ``text``; ``words`` are its, where they are known."""
    words = words or Words(text)
    if len(windows) == 1 and (windows[0].start, windows[0].end) == (0, len(text)):
        texts: tuple[WindowText, ...] = (WindowText.of(text, words),)
    else:
        texts = tuple(WindowText.of(text[window.start : window.end]) for window in windows)
    return Passage(words, tuple(windows), vectors, texts)
