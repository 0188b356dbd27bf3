"""Sealing, blinding, and the key's way from settings or file."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.settings import SettingsError, load_settings
from server.vault import KEY_FILE, Vault, VaultError

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings import Settings

KEY = bytes(range(32))


@given(st.binary(max_size=500), st.binary(max_size=50))
def test_opens_what_it_sealed(plain: bytes, aad: bytes) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(plain, aad)
    assert Vault(KEY).open(sealed, aad) == plain
    assert len(plain) < 8 or plain not in sealed


def test_equal_texts_seal_differently() -> None:
    vault = Vault(KEY)
    assert vault.seal(b"x", b"") != vault.seal(b"x", b"")


@given(position=st.integers(min_value=0, max_value=60), bit=st.integers(min_value=0, max_value=7))
def test_any_changed_bit_is_noticed(position: int, bit: int) -> None:
    vault = Vault(KEY)
    sealed = bytearray(vault.seal(b"a subject that is to be forgotten", b"row 1"))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(VaultError):
        vault.open(bytes(sealed), b"row 1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12), b"\x02" + bytes(40)])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(VaultError):
        Vault(KEY).open(sealed, b"")


def test_another_row_or_key_does_not_open() -> None:
    sealed = Vault(KEY).seal(b"x", b"row 1")
    with pytest.raises(VaultError):
        Vault(KEY).open(sealed, b"row 2")
    with pytest.raises(VaultError):
        Vault(KEY[::-1]).open(sealed, b"row 1")


def test_purposes_have_different_stable_keys() -> None:
    vault = Vault(KEY)
    assert vault.derive("cache-salt") == Vault(KEY).derive("cache-salt")
    assert len({KEY, vault.derive("cache-salt"), vault.derive("seal"), vault.derive("blind-index")}) == 4
    assert len(vault.derive("cache-salt")) == 32


def test_blind_index_depends_on_text_and_key_only() -> None:
    assert Vault(KEY).blind("subject") == Vault(KEY).blind("subject")
    assert Vault(KEY).blind("subject") != Vault(KEY).blind("Subject")
    assert Vault(KEY).blind("subject") != Vault(KEY[::-1]).blind("subject")


def test_key_from_settings(settings: Settings) -> None:
    chosen = load_settings(data_dir=settings.data_dir, encryption_key=base64.b64encode(KEY).decode())
    assert Vault.load(chosen).open(Vault(KEY).seal(b"x", b""), b"") == b"x"
    assert not settings.data_dir.exists()


@pytest.mark.parametrize("key", [base64.b64encode(KEY[:16]).decode(), "not base64!", ""])
def test_wrong_key_stops_the_start_and_is_not_shown(settings: Settings, key: str) -> None:
    with pytest.raises(SettingsError, match="UNREMEMBER_ENCRYPTION_KEY") as caught:
        Vault.load(load_settings(data_dir=settings.data_dir, encryption_key=key))
    assert not key or key not in str(caught.value)


def test_key_file_is_made_once_and_private(settings: Settings) -> None:
    sealed = Vault.load(settings).seal(b"x", b"")
    path = settings.data_dir / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault.load(settings).open(sealed, b"") == b"x"
    assert [path.name for path in settings.data_dir.iterdir()] == [KEY_FILE]


def test_processes_that_start_at_once_agree_on_the_key(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        vaults = list(pool.map(lambda _: Vault.load(settings), range(8)))
    assert len({vault.blind("x") for vault in vaults}) == 1


def test_damaged_key_file_stops_the_start(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / KEY_FILE).touch(0o600)
    (settings.data_dir / KEY_FILE).write_text("short")
    with pytest.raises(SettingsError, match=r"encryption\.key holds|encryption\.key is not base64"):
        Vault.load(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_file_that_others_can_read_stops_the_start(settings: Settings, mode: int) -> None:
    Vault.load(settings)
    path = settings.data_dir / KEY_FILE
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        Vault.load(settings)


def test_data_dir_that_is_a_file_stops_the_start(tmp_path: Path, clean_environment: None) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(SettingsError, match=KEY_FILE):
        Vault.load(load_settings(data_dir=tmp_path / "data"))
