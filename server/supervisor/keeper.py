"""Runs one command and sees to it that none of its processes outlives whoever asked for it.

Started as a script of its own, with the standard library only. It leads a session, so that a Ctrl-C
in the terminal reaches the gateway first and the engine only through it. It adopts what the command
leaves orphaned (vLLM's engine and workers are processes of their own), and when its standard input
closes, which is what the kernel does however the gateway died, it stops all of them.

    python keeper.py GRACE_SECONDS COMMAND [ARGUMENT ...]

Exits with the command's status (128 + signal for a signal) once no descendant is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Run the command until it ends, until standard input closes, or until SIGTERM or SIGINT."""
    grace, command = float(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)

    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        _become(command, libc, keeper)
    poller = select.poll()
    poller.register(wake_reader, select.POLLIN)
    poller.register(0, select.POLLIN)
    stopping = False
    while not stopping:
        for descriptor, _ in poller.poll():
            data = os.read(descriptor, 64)
            stopping |= data == b"" if descriptor == 0 else bool({signal.SIGTERM, signal.SIGINT} & set(data))
        status = _reap(child)
        if status is not None:
            _kill_descendants()
            return status
    return _stop(child, grace)


def _become(command: list[str], libc: ctypes.CDLL, keeper: int) -> None:
    """Turn this forked process into the command; it dies with the keeper, should that be killed."""
    try:
        os.setpgid(0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:  # it died before the line above could take effect
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606  running the given command is the purpose
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
    finally:
        os._exit(127)


def _reap(child: int) -> int | None:
    """Collect whoever has ended. The command's exit status if it is among them."""
    status = None
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            code = os.waitstatus_to_exitcode(code)
            status = code if code >= 0 else 128 - code


def _stop(child: int, grace: float) -> int:
    """Ask the command's group to end, and after ``grace`` seconds end everything."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGTERM)
    status = None
    end = time.monotonic() + grace
    while status is None and time.monotonic() < end:
        status = _reap(child)
        time.sleep(0.02)
    _kill_descendants()
    return 128 + signal.SIGKILL if status is None else status


def _kill_descendants() -> None:
    """Kill and reap until nothing is left: a killed process's children become ours and come next."""
    while True:
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def _descendants() -> list[int]:
    parents = {pid: fields[0] for pid, fields in _processes().items()}
    found = {os.getpid()}
    size = 0
    while size != len(found):
        size = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return sorted(found - {os.getpid()})


def kill_session(leader: int) -> None:
    """Kill what a keeper has left in its session, should it have been killed itself."""
    for pid, (_, _, session) in _processes().items():
        if session == leader:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> dict[int, tuple[int, int, int]]:
    """Parent, process group and session of every process, from proc(5)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # The second field is a name in brackets that may itself hold blanks and brackets.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[1]), int(fields[2]), int(fields[3]))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
