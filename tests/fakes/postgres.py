"""A PostgreSQL server of the tests' own, from the installed binaries, in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

import asyncpg


def find_binaries() -> Path | None:
    """The newest installed server's ``bin`` directory."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


class PostgresServer:
    """Runs while it is entered. It refuses to run as root, so it then runs as ``postgres`` or ``nobody``."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._directory = Path(tempfile.mkdtemp(prefix="unremember-postgres-"))
        self.port = _free_port()

    def __enter__(self) -> Self:
        try:
            if os.geteuid() == 0:
                user = _account()
                os.chown(self._directory, user.pw_uid, user.pw_gid)
            self._run("initdb", "--username=unremember", "--auth=trust", "--no-sync", "--encoding=UTF8")
            options = f"-p {self.port} -k {self._directory} -c listen_addresses=127.0.0.1 -c fsync=off"
            self._run("pg_ctl", "start", "--wait", f"--log={self._directory / 'log'}", "-o", options)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("pg_ctl", "stop", "--wait", "--mode=immediate")
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    def restart(self) -> None:
        """Break every connection."""
        self._run("pg_ctl", "restart", "--wait", "--mode=fast")

    async def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(self._url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://unremember@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        credentials = {}
        if os.geteuid() == 0:
            user = _account()
            credentials = {"user": user.pw_uid, "group": user.pw_gid}
        done = subprocess.run(
            command,
            cwd=self._directory,
            env={**os.environ, "PGDATA": str(self._directory / "data"), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
            **credentials,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}")


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL does not run as root, and there is no account to run it as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
