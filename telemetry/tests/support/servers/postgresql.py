"""A PostgreSQL server for tests that stop, freeze or kill it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from telemetry.tests.support.servers.server import free_port


class PostgreSQL:
    """A cluster in a temporary folder. As root, it runs as the account `postgres`, which PostgreSQL requires."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is an existing, empty folder, on a disk of the test's choice."""
        self.binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        self.folder = folder or Path(tempfile.mkdtemp(prefix="telemetry-postgresql-"))
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self.run("initdb", "-A", "trust", "-U", "postgres", "-D", str(self.folder / "data"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder / "data")
        shutil.rmtree(self.folder, ignore_errors=True)  # a given folder itself stays

    def command(self, program: str, *arguments: str) -> list[str]:
        account = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        return [*account, str(self.binaries / program), *arguments]

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(self.command(program, *arguments), check=True, capture_output=True, cwd="/")

    def control(self, action: str, *arguments: str) -> None:
        self.run("pg_ctl", action, "-w", "-D", str(self.folder / "data"), *arguments)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self.control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        self.control("stop", "-m", "immediate")

    def runs(self) -> bool:
        return subprocess.run(self.command("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))).returncode == 0

    def freeze(self, on: bool) -> None:
        """Freezes all its processes, or resumes them: a frozen database accepts connections and never answers."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        for pid in (postmaster, *children_of(postmaster)):
            os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)


def children_of(parent: int) -> list[int]:
    """The child processes of this one (proc(5): the parent is the second field after the command's name)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text()
        except OSError:  # the process has ended
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent:
            found.append(int(entry.name))
    return found
