"""A server as a child process: its life, its log, its death with the process that started it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

STOP_LIMIT_S = 10.0
POLL_S = 0.02
LOG_TAIL_BYTES = 4000

# Waits for the end of its input, which comes when the process that holds the other end is gone, however it went;
# then ends the server's whole process group. A parent-death signal would not do: it follows the thread that forked.
_WATCHDOG = 'read -r _; kill -s KILL -- "-$1"'


class ServerError(Exception):
    """A server did not do what it was told: `message`, with the end of its log."""


class MissingServerError(Exception):
    """A server is not installed: `message` says what to run."""


class Process:
    """One server process at a time, started anew after a stop or a kill.

    Every method blocks; from a coroutine call it with `asyncio.to_thread`.
    """

    def __init__(self, name: str, command: Sequence[str], *, log: Path, ready: Callable[[], bool]) -> None:
        self.log = log
        self._name = name
        self._command = command
        self._ready = ready
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        return self._alive().pid

    def start(self, *, within_s: float) -> None:
        """Start the server and return once it answers."""
        if self.running:
            raise ServerError(f"{self._name} is already running")
        self._reap()
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._server.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._await_ready(within_s)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to end in order; kill it where it does not within the limit."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGCONT)
        self._server.terminate()
        try:
            self._server.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reap()

    def kill(self) -> None:
        """End the server as a crash would, with SIGKILL."""
        if self._server is None:
            return
        self._server.kill()
        self._reap()

    def pause(self) -> None:
        """Stop the server's clock: its connections stay open and nothing answers."""
        os.kill(self._alive().pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        os.kill(self._alive().pid, signal.SIGCONT)

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._server is None or self._server.poll() is not None:
            raise self._error("is not running")
        return self._server

    def _await_ready(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not self._ready():
            self._alive()
            if time.monotonic() > deadline:
                raise self._error(f"did not answer within {within_s:g} s")
            time.sleep(POLL_S)
        self._alive()  # or another process holds its port and gave the answer

    def _reap(self) -> None:
        """Collect the ended server and its watchdog, the server last, so that its id cannot be another's before."""
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.kill()
            self._watchdog.stdin.close()
            self._watchdog.wait()
        if self._server is not None:
            self._server.wait()
        self._server = self._watchdog = None

    def _error(self, what: str) -> ServerError:
        tail = self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""
        return ServerError(f"{self._name} {what}; the end of {self.log}:\n{tail}")
