"""What a receiver has to remember over a restart: a small file of JSON for each thing."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from interaction_router.domain.errors import FatalError, RetryableError

_ADVICE = "Look at `receivers.state_dir`: is it there, has the disk room, may this user write?"


class Kept:
    """Files in a folder, written whole or not at all; not made for a power cut."""

    def __init__(self, folder: Path, namespace: str, kind: str) -> None:
        """`kind` is a receiver's name; it parts the files of several."""
        self._folder = folder
        self._prefix = f"{namespace}.{kind}"
        self._saving = Lock()

    def load(self, of: Sequence[str]) -> Any:  # Any: JSON, as it was saved
        """Return what was saved under a name, None where nothing was.

        Raises:
            FatalError: the file cannot be read; to begin anew would be to guess.
        """
        path = self._path(of)
        try:
            return orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            cause = f"{path} cannot be read: {error}."
            raise FatalError("state_unreadable", cause, "Mend it, or remove it to begin anew.") from error

    def save(self, of: Sequence[str], value: object) -> None:
        """Keep a value under a name.

        Raises:
            RetryableError: the disk does not take it.
        """
        path = self._path(of)
        passing = path.with_suffix(".new")
        try:
            # Who waits for a thread that saves may be cancelled, and save again before it has ended.
            with self._saving:
                self._folder.mkdir(parents=True, exist_ok=True)
                passing.write_bytes(orjson.dumps(value))
                passing.replace(path)
        except OSError as error:
            raise RetryableError("state_unwritable", f"{path} cannot be written: {error.strerror}.", _ADVICE) from error

    def _path(self, of: Sequence[str]) -> Path:
        name = sha256("\x00".join(of).encode()).hexdigest()[:16]
        return self._folder / f"{self._prefix}.{name}.json"
