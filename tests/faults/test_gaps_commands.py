"""A death and a failure in every gap of a command: run again it ends well, and what is live was never touched."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest

from interaction_router.application import redriving, snapshots, updates_replay
from interaction_router.application.handled import HANDLED
from interaction_router.application.intake import COMMANDS, CONTACTS
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.redriving import UNDER_WAY_MS
from interaction_router.application.views import LOG, STATE
from interaction_router.bootstrap import letters, observing
from interaction_router.bootstrap.embedded import embedded_router
from interaction_router.bootstrap.state import opened_state
from interaction_router.bootstrap.storage import opened_log
from interaction_router.bootstrap.terms import streams
from interaction_router.cli import replay_log
from interaction_router.cli.app import run
from interaction_router.cli.faults import UNAVAILABLE
from interaction_router.cli.invocation import Invocation
from interaction_router.ports import CommandGap, Outgoing
from interaction_router.settings import EmbeddedSettings, Settings, TopicsSettings
from tests.faults.simulator import ManualClock
from tests.faults.stories import SMS, merged, story

PARTITIONS = 2
BATCH = 7
"""Records that a replay writes at once: few, so that it dies between them."""
CHUNK_BYTES = 2_000
TO: Final = "warehouse.updates"
TWIN: Final = "twin"
REBUILD = ("state", "rebuild", "--yes")
SNAPSHOT = ("state", "snapshot")
LOG_REPLAY = ("replay", "log", "--into", TWIN, "--yes")
UPDATES_REPLAY = ("replay", "updates", "--to", TO, "--create", "--yes")
REDRIVE = ("dlq", "redrive", "--all", "--yes")
COPY: Final = "tables.jsonl"
IMPORT = ("state", "import", COPY, "--yes")

RUN: Mapping[str, Sequence[str]] = {
    "rebuild": REBUILD,
    "snapshot": SNAPSHOT,
    "replay": LOG_REPLAY,
    "updates": UPDATES_REPLAY,
    "redrive": REDRIVE,
    "import": IMPORT,
}
"""Commands by the first word of their gaps."""

GAPS: Sequence[tuple[str, CommandGap]] = (
    *((gap.partition("_")[0], gap) for gap in get_args(CommandGap)),
    ("import", "rebuild_suspended"),
    ("import", "rebuild_fenced"),
)
"""Every gap of each command; an import suspends and fences as a rebuild does."""

DEAD = -9
Records = dict[str, list[tuple[bytes | None, bytes | None]]]


class DeathError(BaseException):
    """The process is dead: nothing catches it."""


class Contents(NamedTuple):
    """All that a router has: its topics, and its rows as `state export` writes them."""

    topics: Records
    rows: str


class Storage:
    """The embedded storage of one directory, and the program on it."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.clock = ManualClock()
        self._capsys = capsys

    def settings(self, namespace: str = "router") -> Settings:
        embedded = EmbeddedSettings(data_dir=self.data)
        return Settings(namespace=namespace, embedded=embedded, topics=TopicsSettings(partitions=PARTITIONS))

    async def live_through(self, records: Sequence[tuple[str, Outgoing]]) -> None:
        async with embedded_router(self.settings()) as embedded:
            for stream, record in records:
                await embedded.log.append(stream, 0, [record])
                await embedded.shell.settled()

    def __call__(self, *args: str) -> str:
        """Run the program, which has to end well; return what it prints."""
        code, out, err = self.ran(args, {})
        assert code == 0, err
        return out

    def stops(self, command: Sequence[str], failpoints: str) -> bool:
        """Return whether it stops there: dead, or because a server does not answer, which it says."""
        code, _, err = self.ran(command, {"INTERACTION_ROUTER_FAILPOINTS": failpoints})
        assert code in {0, DEAD, UNAVAILABLE}, err
        assert (code == UNAVAILABLE) is err.startswith("error: failpoint: ")
        return code != 0

    def ran(self, args: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
        try:
            code = run([*args, "--data", str(self.data)], Invocation(env=env))
        except DeathError:
            code = DEAD
        return code, *self._capsys.readouterr()

    async def wipe(self) -> None:
        async with opened_state(self.settings()) as state:
            for partition in range(PARTITIONS):
                await state.tables.clear(partition)

    def contents(self) -> Contents:
        return Contents(asyncio.run(self.topics()), self("state", "export"))

    async def topics(self, namespace: str = "router", *more: str) -> Records:
        """Return every record of every topic, its time aside; what names the namespace and its topics is made equal."""
        settings = self.settings(namespace)
        found: Records = {}
        async with opened_log(settings) as log:
            lineages = [(await log.lineage(stream)).encode() for stream in (LOG, OUTCOMES)]
            for stream in (*streams(settings), *more):
                for partition in range(await log.partitions(stream)):
                    records = await log.read(stream, partition, 0, limit=100_000)
                    found[f"{stream}/{partition}"] = [(each.key, _equal(each.value, lineages)) for each in records]
        return found


def _equal(value: bytes | None, lineages: Sequence[bytes]) -> bytes | None:
    for lineage in lineages:
        value = None if value is None else value.replace(lineage, b"lineage")
    return value


@pytest.fixture
def storage(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Storage:
    def die() -> None:
        raise DeathError

    monkeypatch.setattr(observing, "kill_this_process", die)
    monkeypatch.setattr(replay_log, "BATCH", BATCH)
    monkeypatch.setattr(updates_replay, "BATCH", BATCH)
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redriving, "BATCH", 1)
    lived = Storage(tmp_path / "data", capsys)
    monkeypatch.setattr(letters, "SystemClock", lambda: lived.clock)
    asyncio.run(lived.live_through(story("a")))
    lived(*SNAPSHOT)
    asyncio.run(lived.live_through([*merged("a", times=2), *story("b")]))
    return lived


@pytest.mark.parametrize("act", ["die", "fail"])
@pytest.mark.parametrize(("word", "gap"), GAPS)
def test_a_command_that_stopped_is_run_again(storage: Storage, word: str, gap: CommandGap, act: str) -> None:
    """Each time that the gap is reached is a story of its own."""
    live = storage.contents()
    if word == "import":
        Path(COPY).write_text(live.rows)
        asyncio.run(storage.wipe())
    pristine = storage.data.with_name("pristine")
    shutil.copytree(storage.data, pristine)
    storage(*RUN[word])
    wanted = _made(storage, word)
    nth = 1
    while True:
        shutil.rmtree(storage.data)
        shutil.copytree(pristine, storage.data)
        if not storage.stops(RUN[word], f"{gap}={act}@{nth}"):
            break
        _again(storage, word)
        assert _made(storage, word) == wanted, f"{gap}={act}@{nth}"
        _is_untouched(storage.contents(), live, word)
        storage("state", "verify")
        nth += 1
    assert nth > 1, "the command never reaches the gap"


def _again(storage: Storage, word: str) -> None:
    """Run the command as somebody would that finds it dead.

    An import is refused where a part of it is in place: it says to rebuild, which makes the same of the outcomes.
    """
    kept = Path(f"{TO}.replay.json")
    if word == "updates" and kept.exists():
        storage("replay", "updates", "--resume", str(kept), "--yes")
        assert not kept.exists()
        return
    storage.clock.ms += UNDER_WAY_MS
    code, _, err = storage.ran(RUN[word], {})
    if word == "import" and code != 0:
        assert "state rebuild" in err
        storage(*REBUILD)
    else:
        assert code == (1 if word == "redrive" and "nothing_chosen" in err else 0), err


def _made(storage: Storage, word: str) -> object:
    """Return what a command has made, each record as often as it stands there."""
    match word:
        case "rebuild" | "import":
            return None  # the rows, which are compared with those that were
        case "snapshot":
            living: Records = {}
            for lane, records in asyncio.run(storage.topics()).items():
                if lane.startswith(snapshots.SNAPSHOTS):
                    values = [
                        value
                        for key, value in dict(records).items()
                        if value and not (key or b"").startswith(b"manifest/")
                    ]
                    living[lane] = [(None, value) for value in values]
            return living
        case "replay":
            return asyncio.run(storage.topics(TWIN))
        case "redrive":
            listed = json.loads(storage("dlq", "list", "--all", "--json"))
            topics = asyncio.run(storage.topics())
            sent = {lane: records for lane, records in topics.items() if _takes_letters(lane)}
            return sent, [(each["place"], each["handled"]["state"], each["handled"]["to"]) for each in listed]
        case _:
            topics = asyncio.run(storage.topics("router", TO))
            return {lane: records for lane, records in topics.items() if lane.startswith(TO)}


def _takes_letters(lane: str) -> bool:
    return lane.startswith((SMS, CONTACTS, COMMANDS))


def _is_untouched(now: Contents, before: Contents, word: str) -> None:
    """See that nothing was done to what is live.

    A rebuild leaves fences behind the outcomes; and where it cannot know that the last of them were told, they are
    told again. A redrive appends to what the letters came from, and notes it.
    """
    repeats = word in {"rebuild", "import"}
    assert now.rows == before.rows
    for lane, records in before.topics.items():
        found = now.topics[lane]
        if lane.startswith(snapshots.SNAPSHOTS) or (word == "redrive" and lane.startswith(HANDLED)):
            continue
        if lane.startswith(OUTCOMES) or (word == "redrive" and _takes_letters(lane)):
            assert found[: len(records)] == records
        elif repeats and lane.startswith(STATE):
            assert dict(found) == dict(records), lane
        elif repeats:
            assert list(dict.fromkeys(found)) == list(dict.fromkeys(records)), lane
        else:
            assert found == records, lane
