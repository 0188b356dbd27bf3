"""A tokenizer's vocabulary as text is matched: what each token adds to the letters and words of an answer.

A token is a run of bytes, not of characters. Most are whole characters, and what they add is known beforehand; the
few that begin or go on with a character are read together with the bytes that wait for them.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_left
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from guards.engine.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

BLANK: Final = " "

# No character folds to it: it is not assigned.
_LAST: Final = "\U0010ffff"
_BLANKS: Final = re.compile(" {2,}")
_BYTE: Final = re.compile("<0x([0-9A-F]{2})>")
_REPLACEMENT: Final = "\ufffd"
_NONE: Final = np.empty(0, dtype=np.int64)


class Index:
    """Token ids by text, for look-up by how the text begins."""

    def __init__(self, entries: Iterable[tuple[str, int]]) -> None:
        ordered = sorted(entries)
        self._texts = [text for text, _ in ordered]
        self._ids = np.fromiter((token for _, token in ordered), dtype=np.int64, count=len(ordered))

    def beginning(self, prefix: str) -> Ids:
        """The tokens whose text begins so."""
        first = bisect_left(self._texts, prefix)
        # Most of what phrases still need begins no token: the second search is spared.
        if first == len(self._texts) or not self._texts[first].startswith(prefix):
            return _NONE
        return self._ids[first : bisect_left(self._texts, prefix + _LAST, first)]

    def exactly(self, text: str) -> Ids:
        """The tokens of exactly this text."""
        first = bisect_left(self._texts, text)
        if first == len(self._texts) or self._texts[first] != text:
            return _NONE
        return self._ids[first : bisect_left(self._texts, text + "\0", first)]


class Vocabulary:
    """What every token id adds to an answer.

    Args:
        pieces: the bytes of each token, by id. Those of special tokens do not count.
        special: ids of tokens that a client does not see.
        by_pieces: whether the tokenizer writes a run of byte tokens that is not wholly valid as replacement
            characters throughout (SentencePiece's byte fallback), where others decode what can be decoded.
    """

    def __init__(self, pieces: Sequence[bytes], special: Iterable[int], *, by_pieces: bool = False) -> None:
        self._pieces = pieces
        self.special = frozenset(special)
        self.by_pieces = by_pieces
        texts = [("", b"") if token in self.special else _decode(b"", piece) for token, piece in enumerate(pieces)]
        shared: dict[str, str] = {}
        self.forms = [shared.setdefault(form, form) for form in (form_of(text) for text, _ in texts)]
        """What a token adds by itself: folded, with runs of blanks as one."""
        self.letters = [shared.setdefault(letters, letters) for letters in map(letters_of, self.forms)]
        self.unfinished = frozenset(token for token, (_, pending) in enumerate(texts) if pending)
        """Tokens that end within a character."""
        self._continuing = [
            token
            for token, piece in enumerate(pieces)
            if piece and token not in self.special and piece[0] & 0xC0 == 0x80
        ]
        self._broken = [
            token for token, (text, _) in enumerate(texts) if text == _REPLACEMENT and len(pieces[token]) == 1
        ]
        self.by_letters = Index((text, token) for token, text in enumerate(self.letters) if text)
        self.within_letters = Index(
            (text[start:], token) for token, text in enumerate(self.letters) for start in range(1, len(text))
        )
        """By what stands in a token from any letter but its first."""
        self.by_form = Index((text, token) for token, text in enumerate(self.forms) if text)
        self.from_blank = Index(
            (text[start:], token)
            for token, text in enumerate(self.forms)
            for start, character in enumerate(text)
            if character == BLANK
        )
        """By what stands in a token from any of its blanks."""

    def __len__(self) -> int:
        return len(self._pieces)

    def read(self, pending: bytes, token: int) -> tuple[str, bytes]:
        """The form that a token adds behind bytes that wait for it, and the bytes that then wait."""
        text, pending = _decode(pending, self._pieces[token])
        return form_of(text), pending

    def read_all(self, tokens: Iterable[int]) -> tuple[str, bytes]:
        """The form of a run of tokens, and the bytes that wait behind it."""
        text, pending = _decode(b"", b"".join(self._pieces[token] for token in tokens))
        return form_of(text), pending

    @lru_cache(maxsize=1024)  # noqa: B019 - a vocabulary lives as long as its process
    def continuations(self, pending: bytes) -> tuple[tuple[int, str], ...]:
        """The tokens that go on with a begun character, and the form that each then adds."""
        found = []
        for token in self._continuing:
            text, _ = _decode(pending, self._pieces[token])
            if not text.startswith(_REPLACEMENT):
                found.append((token, form_of(text)))
        return tuple(found)

    @lru_cache(maxsize=1024)  # noqa: B019 - as above
    def breaking(self, pending: bytes) -> Ids:
        """The tokens that would make an invalid run of byte tokens, whose letters a client would not see."""
        if not self.by_pieces:
            return _NONE
        if not pending:
            return np.asarray(self._broken, dtype=np.int64)
        going_on = {token for token, _ in self.continuations(pending)} | self.special
        return np.asarray([token for token in range(len(self)) if token not in going_on], dtype=np.int64)


def read_vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a Hugging Face tokenizer. Raises ValueError where it is of a kind that is not known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        raise ValueError(f"tokenizer {type(tokenizer).__name__} does not tell the bytes of its tokens")
    kinds = set(re.findall(r'"type":\s*"(\w+)"', backend.decoder.__getstate__().decode()))
    to_bytes: Callable[[str], bytes]
    if "ByteLevel" in kinds:
        to_bytes = _byte_level
    elif kinds & {"ByteFallback", "Metaspace"}:
        to_bytes = _sentence_piece
    else:
        raise ValueError(f"tokenizer {type(tokenizer).__name__} decodes in a way that is not known: {sorted(kinds)}")
    added = tokenizer.added_tokens_decoder
    size = max([len(tokenizer), *(token + 1 for token in added)])
    names = [backend.id_to_token(token) for token in range(size)]
    special = {token for token, entry in added.items() if entry.special} | set(tokenizer.all_special_ids)
    return Vocabulary(
        [to_bytes(name) if name is not None else b"" for name in names], special, by_pieces="ByteFallback" in kinds
    )


def form_of(text: str) -> str:
    """A text folded, with runs of blanks as one; it may begin and end with one."""
    return _BLANKS.sub(BLANK, "".join(map(fold, text)))


def letters_of(form: str) -> str:
    """A form without its blanks."""
    return form.replace(BLANK, "")


def join(left: str, right: str) -> str:
    """Two forms, one behind the other."""
    return left + right[1:] if left.endswith(BLANK) and right.startswith(BLANK) else left + right


def _decode(pending: bytes, piece: bytes) -> tuple[str, bytes]:
    if not pending and piece.isascii():
        return piece.decode("ascii"), b""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(pending + piece)
    return text, decoder.getstate()[0]


def _byte_level(name: str) -> bytes:
    table = _byte_of_character()
    # As the tokenizer's own decoder: a token with a character outside the table stands for itself.
    if all(character in table for character in name):
        return bytes(table[character] for character in name)
    return name.encode("utf-8", "replace")


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's table, which shows every byte as a printable character."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(0x100 + index): byte for index, byte in enumerate(hidden)}


def _sentence_piece(name: str) -> bytes:
    byte = _BYTE.fullmatch(name)
    return bytes([int(byte[1], 16)]) if byte else name.replace("\u2581", BLANK).encode("utf-8", "replace")
