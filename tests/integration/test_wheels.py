"""The wheels.

The engine's is built from its folder alone and works without vllm and torch; the project's lacks none of its files.
"""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import guards.engine

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "guards", "offline")
ENGINE = ROOT / "guards" / "engine"
UNPACKED = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")


def built(source: Path) -> Path:
    """The wheel of a folder, which may be written to."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(source / "wheels"), str(source)], check=True, capture_output=True)
    (wheel,) = (source / "wheels").glob("*.whl")
    return wheel


def contents(wheel: Path) -> list[str]:
    return sorted(name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(Path(shutil.copytree(ENGINE, tmp_path_factory.mktemp("wheel") / "engine", ignore=UNPACKED)))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=UNPACKED)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return built(copy)


def test_the_engines_holds_the_engine_alone(engine: Path) -> None:
    assert contents(engine) == sorted(f"guards/engine/{source.name}" for source in ENGINE.glob("*.py"))


def test_the_engines_imports_from_a_bare_interpreter(engine: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(engine).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import guards.engine, guards.engine.wire;"
        "print(guards.engine.__file__, guards.engine.fingerprint())"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(tmp_path / "guards/engine/__init__.py"), guards.engine.fingerprint()]


@pytest.mark.parametrize(
    ("wheel", "point"), [("engine", "unremember = guards.engine:register"), ("project", "unremember = server.cli:main")]
)
def test_entry_points(wheel: str, point: str, request: pytest.FixtureRequest) -> None:
    archive = zipfile.ZipFile(request.getfixturevalue(wheel))
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert point in archive.read(entry_points).decode()


def test_the_projects_lacks_nothing(project: Path) -> None:
    """A file of data that no pattern in pyproject.toml covers would be missed where it is installed only."""
    files = [file.relative_to(ROOT) for name in PACKAGES for file in (ROOT / name).rglob("*") if file.is_file()]
    own = [file.as_posix() for file in files if not {"__pycache__", "build"} & {*file.parts}]
    assert contents(project) == sorted(
        name for name in own if ".egg-info/" not in name and name != "guards/engine/pyproject.toml"
    )


def test_the_projects_runs_from_where_it_is_installed(project: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(project).extractall(tmp_path)
    # Without -S the editable installation of the checkout would be found first.
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3];"
        "import server.cli; assert server.cli.__file__.startswith(sys.path[0]); server.cli.main()"
    )
    installed = sysconfig.get_paths()["purelib"]
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path), installed, "config"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "upstreams" in result.stdout
