"""Key files: made once, private, the same for everybody who asks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from server.keys import KeyFileError, load_or_create_key

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "admin.key"
    key = load_or_create_key(path)
    assert key.startswith("unr_")
    assert len(key) >= 40
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_many_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(load_or_create_key, [tmp_path / "api.key"] * 64))
    assert len(keys) == 1


def test_a_given_key_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    path.touch(0o600)
    path.write_text("mine\n")
    assert load_or_create_key(path) == "mine"


@pytest.mark.parametrize(("content", "mode"), [("", 0o600), (" \n", 0o600), ("key", 0o644), ("schlüssel", 0o600)])
def test_an_unfit_file_is_named_and_its_content_not_shown(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "admin.key"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=r"admin\.key") as failure:
        load_or_create_key(path)
    assert "schlüssel" not in str(failure.value)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match=r"file/admin\.key"):
        load_or_create_key(tmp_path / "file" / "admin.key")
