"""Encryption of forget text and its vectors, and every key derived from the one master key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.settings import PREFIX, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings import Settings

KEY_BYTES: Final = 32
KEY_FILE: Final = "encryption.key"

_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12


class VaultError(Exception):
    """Sealed data cannot be opened: another key, another row, or tampering. Names no content."""


class Vault:
    """Seals bytes with AES-256-GCM under a key derived from the master key.

    Every purpose has its own key (HKDF-SHA256, RFC 5869), so that a blind index or a cache salt says
    nothing about the key that encrypts. Nonces are random, 96 bits: NIST SP 800-38D allows 2^32
    seals under one key.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a vault's key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._cipher = AESGCM(self.derive("seal"))
        self._blind_key = self.derive("blind-index")

    @classmethod
    def load(cls, settings: Settings) -> Vault:
        """The vault of the configured key, or of a key made once in the data directory.

        Raises:
            SettingsError: the key is not 32 bytes in base64, or its file cannot be read or written, or can be read
                by others.
        """
        if settings.encryption_key is not None:
            return cls(_decode(settings.encryption_key.get_secret_value(), f"{PREFIX}ENCRYPTION_KEY"))
        path = settings.data_dir / KEY_FILE
        try:
            if not path.exists():
                _create(path)
            text, mode = path.read_text(encoding="ascii", errors="replace"), path.stat().st_mode
        except OSError as error:
            raise SettingsError(f"{path} cannot be read or made: {error.strerror}.") from None
        if mode & 0o077:
            raise SettingsError(f"{path} can be read by other users. Mend it: chmod 600 {path}.")
        return cls(_decode(text, str(path)))

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Encrypt ``plain``; only the same ``aad`` opens it. Format byte, nonce, ciphertext with tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, plain, _FORMAT + aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """What ``seal`` was given.

        Raises:
            VaultError: sealed by another key, for another ``aad``, in another format, or changed since.
        """
        body = 1 + _NONCE_BYTES
        if len(sealed) <= body or sealed[:1] != _FORMAT:
            raise VaultError("sealed data has an unknown format")
        try:
            return self._cipher.decrypt(sealed[1:body], sealed[body:], _FORMAT + aad)
        except InvalidTag:
            raise VaultError("sealed data does not open with this key for this row") from None

    def blind(self, text: str) -> str:
        """A keyed fingerprint of ``text``, 64 hex digits: equal texts can be found, none can be read."""
        return hmac.new(self._blind_key, text.encode(), hashlib.sha256).hexdigest()

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, the same at every start."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"unremember/" + purpose.encode()).derive(self._key)


def engine_key(settings: Settings, vault: Vault) -> str:
    """The key shared with vLLM, which opens the phrases of a restriction: the configured one, or the vault's own."""
    given = settings.engine_key
    return given.get_secret_value() if given is not None else vault.derive("engine-arguments").hex()


def _decode(text: str, origin: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(f"{origin} is not base64. {KEY_BYTES} bytes in base64 are needed.") from None
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{origin} holds {len(key)} bytes. {KEY_BYTES} bytes in base64 are needed.")
    return key


def _create(path: Path) -> None:
    """Write a new key under ``path``, unless another process was first: whoever links first wins.

    The file appears whole or not at all, and is on disk before anything is sealed with it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        draft.unlink()
