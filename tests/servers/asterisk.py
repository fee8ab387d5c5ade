"""A real Asterisk: the host's own, or one that `deploy/asterisk` has unpacked.

No stable release of Debian has one, so no host and no CI can be held to it: tests that want one skip where it is not.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.servers.process import MissingServerError, Process

UNPACKED: Final = Path(__file__).parents[2] / ".cache" / "asterisk"
START_LIMIT_S: Final = 30.0

_MODULES: Final = (
    "app_dial", "app_directed_pickup", "app_milliwatt", "app_queue", "app_transfer", "bridge_builtin_features",
    "bridge_builtin_interval_features", "bridge_holding", "bridge_simple", "cdr_manager", "chan_pjsip", "codec_ulaw",
    "format_pcm", "func_callerid", "func_cdr", "pbx_config", "res_musiconhold", "res_pjproject", "res_pjsip",
    "res_pjsip_caller_id", "res_pjsip_endpoint_identifier_ip", "res_pjsip_endpoint_identifier_user",
    "res_pjsip_pubsub", "res_pjsip_refer", "res_pjsip_rfc3326", "res_pjsip_sdp_rtp", "res_pjsip_session",
    "res_rtp_asterisk", "res_sorcery_astdb", "res_sorcery_config", "res_sorcery_memory", "res_timing_timerfd",
)  # fmt: skip
"""What calls need; with all of its modules it takes seconds to start, and complains of what is not set up."""
_OWN_FOLDERS: Final = ("etc", "varlib", "db", "key", "agi", "spool", "run", "log", "cache")


class Asterisk:
    """An Asterisk in a folder of its own, whose configuration stays the same over its lives."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        """`files` are its configuration by name, but for what says where it runs and of what it is made."""
        self._folder = folder
        self._files = files
        self._process: Process | None = None

    def start(self) -> None:
        """Start it and return once it takes calls; about a second.

        Raises:
            MissingServerError: there is no Asterisk here.
            ServerError: it did not come up.
        """
        if self._process is None:
            command = self._set_up()
            self._process = Process("Asterisk", [*command, "-f"], log=self._folder / "console", ready=_booted(command))
        self._process.start(within_s=START_LIMIT_S)

    def stop(self) -> None:
        """End it in order; its calls are hung up."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _set_up(self) -> Sequence[str]:
        """Write its configuration; return the command that runs it."""
        program, folders = _found()
        folders = {**{name: self._folder / name for name in _OWN_FOLDERS}, **folders}
        for name in _OWN_FOLDERS:
            folders[name].mkdir(parents=True, exist_ok=True)
        directories = "".join(f"ast{name}dir => {folder}\n" for name, folder in folders.items())
        files = {
            "asterisk.conf": f"[directories]\n{directories}[options]\nverbose = 3\n",
            "logger.conf": "[logfiles]\nconsole = error,warning,notice,verbose\n",
            "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in _MODULES),
            **self._files,
        }
        for name, text in files.items():
            (folders["etc"] / name).write_text(text)
        return [program, "-C", str(folders["etc"] / "asterisk.conf")]


def _booted(command: Sequence[str]) -> Callable[[], bool]:
    """Return a check that tells whether it takes calls."""

    def check() -> bool:
        asked = [*command, "-rx", "core waitfullybooted"]
        return subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    return check


def _found() -> tuple[str, Mapping[str, Path]]:
    """Return the program, and those of its folders that are not where it was built to look for them."""
    modules = [*UNPACKED.glob("usr/lib/**/asterisk/modules")]
    if modules:
        return str(UNPACKED / "asterisk"), {"mod": modules[0], "data": UNPACKED / "usr" / "share" / "asterisk"}
    if (own := shutil.which("asterisk")) is not None:
        return own, {}
    raise MissingServerError("there is no Asterisk; `make asterisk` fetches one where the host's archive has it")
