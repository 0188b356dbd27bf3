"""The engine's wheel: built from its folder alone, it holds guards.engine and works without vllm and torch."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import guards.engine

SOURCE = Path(guards.engine.__file__).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("wheel")
    copy = workspace / "engine"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(workspace), str(copy)], check=True, capture_output=True)
    (built,) = workspace.glob("unremember_engine-*.whl")
    return built


def test_it_holds_the_engine_alone(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(names) == sorted(f"guards/engine/{source.name}" for source in SOURCE.glob("*.py"))


def test_it_imports_from_a_bare_interpreter(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import guards.engine, guards.engine.wire;"
        "print(guards.engine.__file__, guards.engine.fingerprint())"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(tmp_path / "guards/engine/__init__.py"), guards.engine.fingerprint()]


def test_the_entry_point(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "unremember = guards.engine:register" in archive.read(entry_points).decode()
