"""The file that says how far a replay of updates is: whole at every moment, and of one run at a time."""

import fcntl
import os
import shlex
from pathlib import Path
from typing import IO, TYPE_CHECKING

from interaction_router.cli.nouns import PROGRAM
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.application.updates_replay import ReplayState


class ReplayFile:
    """Written anew beside itself and put in its place; the run that writes it has it locked until it ends or dies."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self._path = path
        self._held: IO[bytes] | None = None

    def close(self) -> None:
        """Let go of it."""
        if self._held is not None:
            self._held.close()

    @property
    def command(self) -> str:
        """What goes on with the replay."""
        return f"{PROGRAM} replay updates --resume {shlex.quote(str(self._path))}"

    def refuse_unfinished(self) -> None:
        """Raise `replay_unfinished` where there is a file: a replay that has ended has removed its own.

        Raises:
            FatalError: likewise; `replay_not_kept`: its folder cannot be looked into.
        """
        try:
            there = self._path.exists()
        except OSError as error:
            raise self._not_kept(error) from error
        if there:
            raise self._unfinished()

    def read(self) -> "ReplayState":
        """Return how far the replay is.

        Raises:
            FatalError: `replay_missing`, `replay_unreadable`.
        """
        with self._opened() as file:
            return _state(file)

    def take(self) -> "ReplayState":
        """Return likewise, and let nobody else go on with it.

        Raises:
            FatalError: as `read`; `replay_running`: another run is at it.
        """
        file = self._held = self._opened()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            replaced = not os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except BlockingIOError:
            replaced = True
        except OSError as error:
            raise self._missing(error) from error
        if replaced:
            cause = f"The replay of {self._path} is being written at this moment."
            raise FatalError("replay_running", cause, "Wait for its end, or interrupt it and try again.")
        return _state(file)

    def begin(self, state: "ReplayState") -> None:
        """Make the file.

        Raises:
            FatalError: `replay_unfinished`: there is one; `replay_not_kept`.
        """
        from interaction_router.application.updates_replay import state_json  # noqa: PLC0415 - `--help` needs none

        try:
            self._held = self._path.open("xb")
            fcntl.flock(self._held, fcntl.LOCK_EX)
            self._held.write(state_json(state))
            self._held.flush()
        except FileExistsError as error:
            raise self._unfinished() from error
        except OSError as error:
            raise self._not_kept(error) from error

    def keep(self, state: "ReplayState") -> None:
        """Write how far it is.

        Raises:
            FatalError: `replay_not_kept`.
        """
        from interaction_router.application.updates_replay import state_json  # noqa: PLC0415 - `--help` needs none

        assert self._held is not None, "it was begun, or taken"
        beside = self._path.with_name(f"{self._path.name}.new")
        before = self._held
        try:
            self._held = beside.open("wb")
            fcntl.flock(self._held, fcntl.LOCK_EX)
            self._held.write(state_json(state))
            self._held.flush()
            beside.replace(self._path)
        except OSError as error:
            raise self._not_kept(error) from error
        finally:
            before.close()

    def remove(self) -> None:
        """Remove it: the replay has ended."""
        self._path.unlink(missing_ok=True)

    def _unfinished(self) -> FatalError:
        cause = f"{self._path} is of a replay that has not ended."
        return FatalError("replay_unfinished", cause, f"`{self.command}` goes on with it; else remove it.")

    def _opened(self) -> IO[bytes]:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise self._missing(error) from error

    def _missing(self, error: OSError) -> FatalError:
        cause = f"{self._path} cannot be read: {error.strerror}."
        return FatalError("replay_missing", cause, "A replay that has ended has removed its file.")

    def _not_kept(self, error: OSError) -> FatalError:
        cause = f"{self._path} cannot be written: {error.strerror}."
        return FatalError("replay_not_kept", cause, "Name another file with --state.")


def _state(file: IO[bytes]) -> "ReplayState":
    from interaction_router.application.updates_replay import read_state  # noqa: PLC0415 - `--help` needs no clients

    return read_state(file.read())
