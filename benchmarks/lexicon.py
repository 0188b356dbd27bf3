"""How long it takes to find names in a prompt of 100 tokens, by how many names there are.

    python -m benchmarks.lexicon [--out docs/evidence/…/lexicon]

Names are made of words of wordfreq's list that are rare enough to be names; prompts of background prompts put together
up to 100 tokens of four characters. Three kinds: as they are, with a name in each, and with a misspelt name in each.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import wordfreq

from guards.detect.lexical import Lexicon
from guards.detect.words import Words, zipf
from offline.detector.background import background_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNTS = (10, 100, 1_000, 10_000, 100_000)
_PROMPTS = 400
_CHARACTERS = 400
_ROUNDS = 5


def main() -> None:
    """Print, and with ``--out`` write, the median and the 99th percentile in microseconds for each number of names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="where the figures go: a path without .json")
    arguments = parser.parse_args()
    draw = random.Random(7)
    names = _names(max(_COUNTS), draw)
    plain = _prompts(draw)
    figures = []
    for count in _COUNTS:
        lexicon = Lexicon()
        began = time.perf_counter()
        for number, name in enumerate(names[:count]):
            lexicon.add(str(number), [name])
        lexicon.find(Words("Qwortle"))
        built = time.perf_counter() - began
        kinds = {
            "plain": plain,
            "named": [_with(prompt, draw.choice(names[:count]), draw) for prompt in plain],
            "misspelt": [_with(prompt, _misspelt(draw.choice(names[:count]), draw), draw) for prompt in plain],
        }
        figure: dict[str, float] = {"names": count, "build_s": round(built, 2)}
        for kind, prompts in kinds.items():
            spent, found = _measure(lexicon, [Words(prompt) for prompt in prompts])
            figure[f"{kind}_p50_us"], figure[f"{kind}_p99_us"] = (
                round(float(q), 1) for q in np.percentile(spent, [50, 99])
            )
            figure[f"{kind}_found"] = found
        print(figure, flush=True)
        figures.append(figure)
    if arguments.out:
        Path(f"{arguments.out}.json").write_text(json.dumps(figures, indent=1) + "\n")


def _names(count: int, draw: random.Random) -> list[str]:
    listed = [
        word
        for word in wordfreq.get_frequency_dict("en", wordlist="large")
        if word.isascii() and word.isalpha() and 4 <= len(word) <= 12 and zipf(word) < 4.0
    ]
    names: dict[str, None] = {}
    while len(names) < count:
        names[" ".join(draw.choice(listed).capitalize() for _ in range(2))] = None
    return list(names)


def _prompts(draw: random.Random) -> list[str]:
    background = [prompt for prompt in background_prompts() if prompt.isascii()]
    prompts = []
    for _ in range(_PROMPTS):
        text = ""
        while len(text) < _CHARACTERS:
            text += draw.choice(background) + " "
        prompts.append(text[:_CHARACTERS])
    return prompts


def _with(prompt: str, name: str, draw: random.Random) -> str:
    words = prompt.split()
    words.insert(draw.randint(1, len(words) - 1), name)
    return " ".join(words)


def _misspelt(name: str, draw: random.Random) -> str:
    """The name with two neighbouring letters exchanged in its longest word."""
    longest = max(name.split(), key=len)
    place = draw.randint(1, len(longest) - 2)
    typed = longest[:place] + longest[place + 1] + longest[place] + longest[place + 2 :]
    return name.replace(longest, typed)


def _measure(lexicon: Lexicon, prompts: Sequence[Words]) -> tuple[list[float], int]:
    """The least of some rounds for each prompt, in microseconds, and in how many something was found."""
    spent = [float("inf")] * len(prompts)
    found = 0
    for number in range(_ROUNDS):
        for place, words in enumerate(prompts):
            began = time.perf_counter()
            matches = lexicon.find(words)
            spent[place] = min(spent[place], 1e6 * (time.perf_counter() - began))
            found += bool(matches) and not number
    return spent, found


if __name__ == "__main__":
    main()
