"""Makefile, container files and continuous integration: what can be asserted of them without a container engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, with its variables left in."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def stages() -> dict[str, list[str]]:
    """Instructions of the Dockerfile by the name of their stage."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.match(r"FROM \S+ AS (\S+)", line):
            name = match[1]
        elif line and not line.startswith("#"):
            found.setdefault(name, []).append(line)
    return found


def test_only_the_gateway_reaches_vllm(compose: dict[str, Any]) -> None:
    services, networks = compose["services"], compose["networks"]
    assert "ports" not in services["vllm"]
    assert "ports" not in services["postgres"]
    (shared,) = services["vllm"]["networks"]
    assert networks[shared]["internal"]
    assert [name for name, service in services.items() if shared in service["networks"]] == ["gateway", "vllm"]
    (storage,) = services["postgres"]["networks"]
    assert networks[storage]["internal"]
    assert storage != shared


def test_every_setting_in_the_compose_file_exists(compose: dict[str, Any]) -> None:
    given = {name for name in compose["services"]["gateway"]["environment"] if name.startswith(PREFIX)}
    assert given <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_the_compose_file_holds_no_secret(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD|DATABASE_URL", name):
                assert re.search(r"\$\{\w+:\?", value), name


def test_the_example_environment_names_what_the_compose_file_requires() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", (ROOT / "deploy" / "compose.yaml").read_text()))
    offered = re.findall(r"^(\w+)=$", (ROOT / "deploy" / "compose.env.example").read_text(), re.MULTILINE)
    assert required <= set(offered)


def test_the_admin_api_is_published_on_this_machine_only(compose: dict[str, Any]) -> None:
    gateway = compose["services"]["gateway"]
    admin = [port for port in gateway["ports"] if port.endswith(f":{gateway['environment']['UNREMEMBER_ADMIN_PORT']}")]
    assert admin
    assert all(port.startswith("127.0.0.1:") for port in admin)


def test_the_compose_file_builds_stages_that_exist(compose: dict[str, Any]) -> None:
    targets = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    assert targets == {"gateway", "engine"}
    assert targets < set(stages())


def test_the_gateway_image_has_no_vllm_and_no_root() -> None:
    gateway = stages()["gateway"]
    assert [line for line in gateway if line.startswith("USER ")][-1] != "USER root"
    assert any(line.startswith("HEALTHCHECK ") for line in gateway)
    installed = " ".join(line for line in stages()["gateway-build"] if "pip install" in line)
    assert "vllm" not in installed
    assert "torch.version.cuda is None" in installed


def test_what_the_gateway_keeps_outlives_its_container(compose: dict[str, Any]) -> None:
    lines = " ".join(stages()["gateway"])
    kept = re.findall(r"UNREMEMBER_(?:DATA|CACHE)_DIR=(\S+)", lines)
    gateway = compose["services"]["gateway"]
    assert len(kept) == 2
    assert gateway["read_only"]
    for directory in kept:
        assert any(f"{name}:{directory}" in gateway["volumes"] for name in compose["volumes"])
        assert f'"{directory}"' in lines, "not in VOLUME"


def test_the_engine_image_gets_the_plugin_alone() -> None:
    copied = [line.split()[1] for line in stages()["engine-build"] if line.startswith("COPY ")]
    assert copied == ["guards/engine"]


def test_what_the_images_copy_is_in_the_build_context() -> None:
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for lines in stages().values():
        for line in lines:
            if line.startswith("COPY ") and "--from" not in line:
                for source in [part for part in line.split()[1:-1] if not part.startswith("--")]:
                    assert any(source == entry or source.startswith(f"{entry}/") for entry in kept), source


def test_the_engine_starts_with_the_plugins_fingerprint(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo abc123; else printf "%s\\n" "$@"; fi\n')
    python.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "deploy" / "engine-entrypoint"), "--model=/model", "--host=a b"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = done.stdout.splitlines()
    assert json.loads(arguments[arguments.index("--additional-config") + 1]) == {"unremember": "abc123"}
    assert arguments[-2:] == ["--model=/model", "--host=a b"]


def test_make_explains_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"serve", "test", "check", "evidence", "lock", "help"} <= set(targets)
    assert set(re.findall(r"^  make (\w+)", told, re.MULTILINE)) == set(targets)


@pytest.mark.parametrize("script", [".ci/run", "deploy/lock", "deploy/evidence"])
def test_scripts_can_be_run_and_stop_at_the_first_error(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_lock_fits_the_project(project: dict[str, Any]) -> None:
    locked = dict(line.split("==") for line in (ROOT / "deploy" / "cpu.lock").read_text().splitlines() if "==" in line)
    extras = project["optional-dependencies"]
    for entry in [*project["dependencies"], *extras["cpu"], *extras["models"], *extras["dev"]]:
        match = re.match(r"([\w-]+)(?:\[.*\])?(.*)", entry)
        assert match
        name, wanted = match.groups()
        assert name.lower() in locked, entry
        if wanted.startswith("=="):
            assert locked[name.lower()] == wanted[2:].removesuffix("+cpu"), entry
    assert "+" not in "".join(locked.values()), "a local version is not to be had from an index"
    assert not {"torchvision", "torchaudio"} & set(locked)


def test_the_licence_is_the_one_that_is_declared(project: dict[str, Any]) -> None:
    assert project["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_a_machine_without_python_is_told_so(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    nowhere = {"PATH": str(tmp_path)}
    ended = subprocess.run([make, "--dry-run", "serve"], cwd=ROOT, env=nowhere, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "Install Python 3.11" in ended.stderr
    assert ended.stdout == ""
