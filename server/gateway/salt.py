"""A client's cache salt, made harmless."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.api.body import Body


def salted(body: Body, key: bytes) -> Body:
    """The body with ``cache_salt`` replaced by an HMAC of it, in hex.

    A salt names the space of cached prefixes that a request shares. Clients that share one go on
    sharing it, and none can name the space of another, or that of a corrupted prompt. vLLM 0.32
    refuses ``@ / \\`` in a salt and more than 128 characters, so this is never a 400.
    """
    salt = body["cache_salt"]
    if not salt:
        return {name: value for name, value in body.items() if name != "cache_salt"}
    message = b"client-salt " + salt.encode("utf-8", "surrogatepass")
    return body | {"cache_salt": hmac.new(key, message, hashlib.sha256).hexdigest()}
