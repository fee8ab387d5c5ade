"""A disk of one's own that can be full."""

import shutil
import subprocess
from pathlib import Path

_CHUNK = b"\0" * (1 << 20)


class SmallDisk:
    """A file system in memory over a folder; who may not mount one (root may, on Linux) has the folder as it is."""

    def __init__(self, folder: Path, *, mib: int) -> None:
        """Nothing is there before `mount`."""
        self._folder = folder
        self._mib = mib
        self.mounted = False

    def mount(self) -> None:
        """Mount it if that is allowed: see `mounted`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        size = f"size={self._mib}m"
        self.mounted = bool(shutil.which("mount")) and _runs(
            "mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self._folder)
        )

    def fill(self) -> None:
        """Leave no space at all."""
        assert self.mounted, "this would fill the machine's disk"
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while ballast.write(_CHUNK):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Let there be space again."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Give it up with all that is on it, whoever still has files open there."""
        if self.mounted:
            _runs("umount", "--lazy", str(self._folder))

    @property
    def _ballast(self) -> Path:
        return self._folder / "ballast"


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
