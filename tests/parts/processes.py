"""Children that start when they say so, die with their parent, and leave a log."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """A part did not come up; the message ends with the last lines of its log."""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _die_with_parent() -> None:
    # Even `kill -9` of the parent leaves no broker behind. (Linux; elsewhere stop() has to do.)
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except AttributeError:
        pass


class Child:
    """One server process."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns when `ready`; raises StartError when the process has ended or the time is over."""
        until = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > until:
                self.kill()
                raise StartError(f"{self.name} was not ready within {seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.1)

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """At once: what these servers hold is thrown away, and their own ending takes up to 17 s."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def write_secret(path: Path, text: str) -> Path:
    """A file that only its owner reads."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path
