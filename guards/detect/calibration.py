"""What detection learned before any request existed, bound to the encoder it was learned with."""

from __future__ import annotations

import functools
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.detect.evidence import FEATURES, WindowText, name_strength
from guards.detect.fusion import Fusion
from guards.detect.lexical import alias_keys
from guards.detect.mentions import MentionModel
from guards.detect.names import names_in
from guards.detect.ood import OutlierModel
from guards.detect.words import Words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from guards.scope import Alias

_FORMAT = 3


@dataclass(frozen=True)
class Background:
    """Ordinary prompts. Window ``i`` of their windows, in order, has row ``i`` of ``vectors``.

    ``first`` [n] is the row of each prompt's first window; every prompt has at least one.
    """

    prompts: tuple[str, ...]
    windows: tuple[str, ...]
    first: NDArray[np.int64]
    vectors: NDArray[np.float32]

    @functools.cached_property
    def texts(self) -> tuple[WindowText, ...]:
        """The words of each window."""
        return tuple(WindowText.of(window) for window in self.windows)

    @functools.cached_property
    def words(self) -> tuple[Words, ...]:
        """The words of each prompt."""
        return tuple(Words(prompt) for prompt in self.prompts)

    def name_strengths(self, aliases: Sequence[Alias]) -> NDArray[np.float32]:
        """Per window `name_strength` of the rarest of ``aliases`` in its prompt, 0 where there is none."""
        of_prompts = np.zeros(len(self.prompts), dtype=np.float32)
        for alias in aliases:
            keys, strength = alias_keys(alias.text), name_strength(alias.innocent_rate)
            named = np.array([names_in(words, keys) for words in self.words])
            of_prompts[named] = np.maximum(of_prompts[named], strength)
        counts = np.diff([*self.first, len(self.windows)])
        return np.repeat(of_prompts, counts)

    def highest(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Per prompt the highest of its windows' probabilities."""
        highest: NDArray[np.float64] = np.maximum.reduceat(probabilities, self.first)
        return highest


@dataclass(frozen=True)
class Calibration:
    """Fusion weights, outlier and mention models and background; all of them hold for one encoder only."""

    encoder: str
    """`Encoder.fingerprint`."""
    fusion: Fusion
    outliers: OutlierModel
    mentions: MentionModel
    background: Background
    near: NDArray[np.float64]
    """Probabilities of near misses, [n]: prompts just outside the scopes that fusion was learned from."""

    def save(self, path: Path) -> None:
        """Write to ``path``, in one step: a reader never sees half a file."""
        header = {
            "format": _FORMAT,
            "encoder": self.encoder,
            "features": FEATURES,
            "intercept": self.fusion.intercept,
            "mention_intercepts": [self.mentions.intercept, self.mentions.outright],
            "mention_wordings": list(self.mentions.wordings),
            "cosine_weight": self.outliers.cosine_weight,
            "scale": self.outliers.scale,
            "prompts": self.background.prompts,
            "windows": self.background.windows,
        }
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
                weights=self.fusion.weights,
                mean=self.outliers.mean,
                precision=self.outliers.precision,
                mentions=self.mentions.weights,
                mention_wordings=np.array(list(self.mentions.wordings.values()), dtype=np.float32),
                near=self.near,
                first=self.background.first,
                vectors=self.background.vectors,
            )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a calibration, or one of another version of this program.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            header: dict[str, Any] = json.loads(arrays["header"].tobytes())
            version = header["format"], tuple(header["features"])
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError("the file is not a calibration") from error
        if version != (_FORMAT, FEATURES):
            raise ValueError("the calibration is of another version: calibrate again")
        return cls(
            header["encoder"],
            Fusion(arrays["weights"], header["intercept"]),
            OutlierModel(arrays["mean"], arrays["precision"], header["cosine_weight"], header["scale"]),
            MentionModel(
                arrays["mentions"],
                dict(zip(header["mention_wordings"], arrays["mention_wordings"].tolist(), strict=True)),
                *header["mention_intercepts"],
            ),
            Background(tuple(header["prompts"]), tuple(header["windows"]), arrays["first"], arrays["vectors"]),
            arrays["near"],
        )


def make_background(
    prompts: Sequence[str], windows: Sequence[Sequence[str]], vectors: NDArray[np.float32]
) -> Background:
    """A background from each prompt's windows; ``vectors`` has a row for each window, in order."""
    counts = np.array([len(of_prompt) for of_prompt in windows], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return Background(tuple(prompts), tuple(window for of_prompt in windows for window in of_prompt), first, vectors)
