"""Where figures come from: everything that somebody needs to get them again."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("torch", "sentence-transformers", "scikit-learn", "scipy", "numpy", "faiss-cpu")


def provenance(seed: int, **more: Any) -> dict[str, Any]:
    """JSON-able: command line, seed, code, libraries, machine, date, and whatever else is given."""
    return {
        "command": command_line(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": seed,
        "code": code_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load": round(os.getloadavg()[0], 1),
        },
        **more,
    }


def command_line() -> str:
    """This process's command line, its program without the path."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def code_version(root: Path = _ROOT) -> str:
    """The package's version, and of a checkout the commit, with ``+changes`` where files differ from it.

    What evaluations themselves write, under docs/evidence, is no change.
    """
    version = importlib.metadata.version("unremember")
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return version
    commit, status = (
        subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - our own
        for words in (
            ("rev-parse", "--short=12", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs/evidence"),
        )
    )
    return f"{version}, commit {commit}{'+changes' if status else ''}" if commit else version


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
