"""Bearer keys, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from server.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = b"bearer "


class BearerKeys:
    """The keys of one API. Without any key every request is refused."""

    __slots__ = ("_digests",)

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(digest(key) for key in keys if key)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Check the key among raw ASGI headers (names in lower case). Gives its digest.

        It stands in ``authorization``, or in ``x-api-key``, where Anthropic's clients send it.

        Raises:
            Unauthorized: no key is given, or one that is not known.
        """
        given = dict(headers)
        if b"authorization" in given:
            return self.check_value(given[b"authorization"])
        if b"x-api-key" in given:
            return self.check_value(_SCHEME + given[b"x-api-key"])
        raise Unauthorized("No API key was given: send `Authorization: Bearer KEY`.", code="missing_api_key")

    def check_value(self, value: bytes) -> bytes:
        """Check an ``authorization`` header's value. Gives the key's digest. Raises Unauthorized."""
        given = value[len(_SCHEME) :].strip() if value[: len(_SCHEME)].lower() == _SCHEME else b""
        found = hashlib.sha256(given).digest()
        # Every key is compared, so the time says nothing about which one came close.
        matches = [hmac.compare_digest(found, known) for known in self._digests]
        if not (given and any(matches)):
            raise Unauthorized("The API key is not known.", code="invalid_api_key")
        return found


def digest(key: str) -> bytes:
    """What a key is known by once it has been checked."""
    return hashlib.sha256(key.encode()).digest()
