"""Makes the environment that everything else runs in: `.venv`, from `deploy/cpu.lock`.

Needs only Python and the standard library, and says in words what it cannot do. Run it again after
a failure or an interruption: it goes on where it can and starts over where it must.

    python3.11 deploy/bootstrap.py                 # before `unremember up`: looks at the ports too
    python3.11 deploy/bootstrap.py --only-install  # before tests
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 12))
DISK_GB = 10
INSTALLED = "unremember-installed.json"
INSTALLING = "unremember-installing"
PORTS = (("UNREMEMBER_PORT", 8080), ("UNREMEMBER_ADMIN_PORT", None), ("UNREMEMBER_ENGINE_PORT", 8081))

CPU_INDEX = (
    "Set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels (its installation page names it), "
    "or PIP_FIND_LINKS to a directory with the wheel, and run this again."
)
PIP_FAILURES = (
    (r"No space left on device|Errno 28", "The disk is full. Free some space and run this again."),
    (
        r"Temporary failure in name resolution|Name or service not known|Connection refused|Max retries"
        r"|NewConnectionError|ReadTimeout|Read timed out|ProxyError|SSLError|CERTIFICATE",
        "The package index cannot be reached. Check the network and pip's settings, and run this again.",
    ),
    (
        r"No matching distribution found for (?P<what>\S+)",
        "The package index has no {what} for this Python. Use Python 3.11 on x86_64, or another index.",
    ),
    (r"Permission denied|Errno 13", "Files here cannot be written. Mend the permissions of .venv and run this again."),
)


class Refusal(Exception):
    """Something is missing. The first argument says what, the second what to do about it."""


class Step:
    """One line of progress with the time it took: rewritten in place on a terminal, else printed as it changes."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self._live = sys.stdout.isatty()
        self._start = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Step:
        if not self._live:
            print(f"  {self.title} ...", flush=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        self._thread.join()
        mark = "ok" if error is None else "stopped"
        self._print(f"  {self.title}: {mark}, {self._elapsed()}", end="\n")

    def _elapsed(self) -> str:
        seconds = int(time.monotonic() - self._start)
        return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"

    def _print(self, text: str, end: str) -> None:
        width = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{text[: width - 1]}" if self._live else text, end=end, flush=True)

    def _draw(self) -> None:
        wait = 0.2 if self._live else 20.0
        frames = 0
        while not self._done.wait(wait):
            detail = f" - {self.detail}" if self.detail else ""
            if self._live:
                self._print(f"{'|/-' + chr(92)}"[frames % 4] + f" {self.title}{detail} ({self._elapsed()})", end="")
            else:
                self._print(f"    {self.title}{detail} ({self._elapsed()})", end="\n")
            frames += 1


def check_machine(system: str, machine: str, python: tuple[int, int]) -> str | None:
    """A warning, if this machine is one that the project is not tested on.

    Raises:
        Refusal: it cannot work here at all.
    """
    if system != "Linux":
        raise Refusal(f"vLLM for CPU needs Linux, and this is {system}.", "Use a Linux machine, or a container of one.")
    if python not in PYTHONS:
        raise Refusal(
            f"This is Python {python[0]}.{python[1]}, and the lock holds packages for 3.11 and 3.12.",
            "Install Python 3.11 with its venv module, or name one: make serve PYTHON=/path/to/python3.11.",
        )
    if machine not in ("x86_64", "aarch64"):
        raise Refusal(f"There are no packages for {machine}.", "Use an x86_64 machine.")
    if machine == "aarch64":
        return "aarch64 is untested: packages for it exist, and nobody has run them for this project."
    if python != PYTHONS[0]:
        return "Python 3.12 is untested: this project is developed on 3.11."
    return None


def check_disk(free: int) -> None:
    """Raises Refusal where ``free`` bytes are too few for packages and models."""
    if free < DISK_GB * 10**9:
        raise Refusal(f"{DISK_GB} GB of disk are needed here, and {free / 10**9:.1f} GB are free.", "Free some space.")


def check_ports(environment: dict[str, str]) -> None:
    """Raises Refusal where a port that ``unremember up`` will listen on is taken."""
    written = read_config(environment.get("UNREMEMBER_CONFIG"))
    for name, default in PORTS:
        value = environment.get(name, written.get(name.removeprefix("UNREMEMBER_").lower(), default))
        if value is None or not str(value).isdecimal():
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", int(value)))
            except (OSError, OverflowError) as error:
                raise Refusal(
                    f"Port {value} cannot be used: {getattr(error, 'strerror', None) or error}.",
                    f"Stop what listens there, or choose another port with {name}.",
                ) from None


def read_config(path: str | None) -> dict[str, object]:
    """The settings of a TOML file. Empty where it cannot be read: ``unremember up`` says why."""
    import tomllib  # Python 3.11's; an older one is told so before

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}


def stamp(root: Path, python: str) -> dict[str, str]:
    """What an installation was made from. It is current as long as this stays the same."""
    digest = {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in ("deploy/cpu.lock", "pyproject.toml")
    }
    return {**digest, "python": python, "root": str(root)}


def current(root: Path, python: str) -> bool:
    """Whether `.venv` holds what the lock asks for."""
    try:
        recorded = json.loads((root / ".venv" / INSTALLED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(recorded == stamp(root, python) and (root / ".venv/bin/unremember").exists())


def install(root: Path) -> None:
    """Make `.venv` and install the lock into it."""
    venv, lock, log = root / ".venv", root / "deploy/cpu.lock", root / "build/install.log"
    total = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z0-9]", line))
    if not total:
        raise Refusal("deploy/cpu.lock is empty.", "Check it out again: git checkout deploy/cpu.lock.")
    print(f"About to install {total} packages, about 5 GB, into .venv. It takes some minutes, once.", flush=True)
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"")
    if (venv / INSTALLING).exists():
        with Step("Removing an installation that was interrupted"):
            shutil.rmtree(venv)
    if not (venv / "bin/python").exists():
        with Step("Making .venv"):
            make_venv(venv, log)
    (venv / INSTALLING).touch()
    (venv / INSTALLED).unlink(missing_ok=True)
    check_torch(venv, lock, log)
    with Step(f"Installing {total} packages") as step:
        pip(venv, log, ["--no-deps", "-r", str(lock)], Counter(step, total))
    with Step("Installing unremember itself"):
        pip(venv, log, ["--no-deps", "--no-build-isolation", "-e", str(root)])
    (venv / INSTALLED).write_text(json.dumps(stamp(root, platform.python_version())), encoding="utf-8")
    (venv / INSTALLING).unlink()


def make_venv(venv: Path, log: Path) -> None:
    """Raises Refusal where Python comes without its venv module, as Debian packages it."""
    with log.open("ab") as output:
        done = subprocess.run(  # noqa: S603 - our own
            [sys.executable, "-m", "venv", str(venv)], stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        shutil.rmtree(venv, ignore_errors=True)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Refusal(
            f"Python {version} could not make a virtual environment; {log} says why.",
            f"On Debian and Ubuntu its venv module is a package of its own: apt-get install python{version}-venv.",
        )


def check_torch(venv: Path, lock: Path, log: Path) -> None:
    """See which torch pip would take, before gigabytes are loaded.

    The index that pip asks by default has torch's CUDA build under the same version. It would be
    installed without CUDA's libraries, which the lock leaves out, and could not be imported.

    Raises:
        Refusal: pip would take that build.
    """
    wanted = re.search(r"^torch==[^\s;]+", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if wanted is None:
        return
    report = venv / "unremember-torch.json"
    with Step("Looking for a CPU build of torch"):
        pip(venv, log, ["--no-deps", "--ignore-installed", "--dry-run", "--report", str(report), wanted[0]])
        version = json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]["version"]
        report.unlink()
    if not version.endswith("+cpu"):
        raise Refusal(f"pip finds only torch {version}, which is not a CPU build.", CPU_INDEX)


class Counter:
    """Counts packages in pip's output and shows how many are found, and how many installed."""

    def __init__(self, step: Step, total: int) -> None:
        self._step = step
        self._total = total
        self._found = 0
        self._unpacking = False

    def __call__(self, line: str, site: Path) -> None:
        """Take in a line of pip's output, or an empty one when there was none for a while."""
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
            self._found += 1
            self._step.detail = f"{self._found} of {self._total} found"
        elif line.startswith("Installing collected packages"):
            self._unpacking = True
        if self._unpacking:
            installed = sum(1 for _ in site.glob("*.dist-info"))
            self._step.detail = f"{min(installed, self._total)} of {self._total} installed"


def pip(venv: Path, log: Path, arguments: list[str], watch: Counter | None = None) -> None:
    """Run `pip install` with its output in ``log``.

    Raises:
        Refusal: it failed, and why.
    """
    site = next(iter(venv.glob("lib/python*/site-packages")), venv)
    command = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    process = subprocess.Popen(  # noqa: S603 - our own
        [*command, "--progress-bar", "off", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    done = threading.Event()

    def tick() -> None:
        while watch and not done.wait(1.0):
            watch("", site)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    lines = []
    try:
        assert process.stdout is not None
        with log.open("a", encoding="utf-8") as output:
            for line in process.stdout:
                output.write(line)
                output.flush()
                lines.append(line)
                if watch:
                    watch(line, site)
        code = process.wait()
    finally:
        done.set()
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code:
        raise Refusal(*explain("".join(lines[-60:]), log))


def explain(output: str, log: Path) -> tuple[str, str]:
    """pip's failure as a sentence, and its remedy."""
    for pattern, remedy in PIP_FAILURES:
        found = re.search(pattern, output)
        if found:
            return f"pip could not install the packages; {log} has its output.", remedy.format(**found.groupdict())
    last = next((line for line in reversed(output.splitlines()) if "ERROR" in line), "ERROR: it said nothing")
    return f"pip failed with {last.strip()!r}.", f"Its output is in {log}. Run this again when that is mended."


def main(arguments: list[str]) -> int:
    """Check, install what is missing, and say what went wrong in one sentence."""
    parser = argparse.ArgumentParser(description="Install unremember and everything it runs on into .venv.")
    parser.add_argument("--only-install", action="store_true", help="do not look whether the ports are free")
    options = parser.parse_args(arguments)
    version = platform.python_version()
    try:
        warning = check_machine(platform.system(), platform.machine(), (sys.version_info.major, sys.version_info.minor))
        if not options.only_install:
            check_ports(dict(os.environ))
        if current(ROOT, version):
            return 0
        if warning:
            print(f"Note: {warning}", flush=True)
        check_disk(shutil.disk_usage(ROOT).free)
        install(ROOT)
    except Refusal as refusal:
        print(f"\n{refusal.args[0]}\n{refusal.args[1]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again to go on.", file=sys.stderr)
        return 130
    except OSError as error:
        print(
            f"\n{error.filename or 'A file'} cannot be used: {error.strerror}.\nMend that and run this again.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
