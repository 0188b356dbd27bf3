"""Encryption of what a request tells the engine: arguments show up in logs and crash dumps, phrases must not.

AES-SIV (RFC 5297) under a key that the gateway and vLLM's processes share. It needs no nonce and seals equal
arguments alike, so that the engine knows a set of phrases again, whichever gateway sent it.
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_VARIABLE: Final = "UNREMEMBER_ENGINE_KEY"
"""Holds the shared key in the environment of vLLM's processes: any string."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that sealed arguments may unpack to."""

_PURPOSE: Final = b"unremember/engine-arguments/1"


class SealError(ValueError):
    """Sealed arguments cannot be opened. Names no content."""


def environment_key() -> bytes | None:
    """The shared key of this process, None where it has none."""
    return os.environ.get(KEY_VARIABLE, "").encode() or None


def seal(plain: bytes, key: bytes) -> str:
    """Compressed and encrypted, in URL-safe base64. The same bytes under the same key give the same string."""
    return base64.urlsafe_b64encode(_cipher(key).encrypt(zlib.compress(plain), [_PURPOSE])).decode()


def unseal(sealed: str, key: bytes) -> bytes:
    """What ``seal`` was given. Raises SealError if it was sealed under another key, or changed since."""
    try:
        packed = _cipher(key).decrypt(base64.urlsafe_b64decode(sealed.encode()), [_PURPOSE])
    except (InvalidTag, binascii.Error, ValueError):
        raise SealError("does not open with this engine's key") from None
    unpacking = zlib.decompressobj()
    plain = unpacking.decompress(packed, MAX_BYTES)
    if not unpacking.eof:
        raise SealError("is too large")
    return plain


@lru_cache(maxsize=4)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(HKDF(SHA256(), 64, salt=None, info=_PURPOSE).derive(key))
