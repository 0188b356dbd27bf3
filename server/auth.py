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
        self._digests = tuple(hashlib.sha256(key.encode()).digest() for key in keys if key)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Check the ``authorization`` header among raw ASGI headers (names in lower case).

        Raises:
            Unauthorized: no bearer key is given, or one that is not known.
        """
        for name, value in headers:
            if name == b"authorization":
                return self.check_value(value)
        raise Unauthorized("No API key was given: send `Authorization: Bearer KEY`.", code="missing_api_key")

    def check_value(self, value: bytes) -> None:
        """Check an ``authorization`` header's value. Raises Unauthorized."""
        given = value[len(_SCHEME) :].strip() if value[: len(_SCHEME)].lower() == _SCHEME else b""
        digest = hashlib.sha256(given).digest()
        # Every key is compared, so the time says nothing about which one came close.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not (given and any(matches)):
            raise Unauthorized("The API key is not known.", code="invalid_api_key")
