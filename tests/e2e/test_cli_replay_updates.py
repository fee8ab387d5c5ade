"""`replay updates` on embedded storage."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from interaction_router.application.updates_replay import ReplayState, Selection
from interaction_router.cli.replay_file import ReplayFile
from interaction_router.domain.errors import FatalError
from tests.e2e.embedded import PARTITIONS, Program, saved, sms

ANN, BEN = "+27821234567", "+27820000000"
TO = "warehouse.updates"


@pytest.fixture
def busy(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    """Three conversations, of which one is Ann's."""
    monkeypatch.chdir(tmp_path)
    program.feed(saved("c1", ANN), sms("1", ANN), sms("2", BEN), sms("3", ANN), sms("4", None))
    return program


def replay(program: Program, *args: str) -> Any:
    ran = program("replay", "updates", "--to", TO, "--create", "--json", *args)
    assert ran.code == 0, ran.err
    return ran.json


def replayed(program: Program) -> list[dict[str, Any]]:
    return [orjson.loads(record.value or b"") for _, record in program.records(TO)]


def test_it_is_dry_until_told(busy: Program) -> None:
    before = busy.records("conversations.v1")
    told = replay(busy)
    assert (told["records"], told["keys"], told["create"]) == (7, 3, True)
    assert busy("replay", "updates", "--to", TO).code == 1
    assert "target_missing" in busy("replay", "updates", "--to", TO).err
    assert "nothing was written" in busy("replay", "updates", "--to", TO, "--create").err
    assert busy.records("conversations.v1") == before
    assert not list(Path().glob("*.replay.json"))


def test_records_are_as_they_are_but_for_two_marks(busy: Program) -> None:
    told = replay(busy, "--yes")
    assert (told["written"], told["left"]) == (7, 0)
    live = busy.records("conversations.v1")
    copies = busy.records(TO)
    assert [(partition, record.key, record.value) for partition, record in copies] == [
        (partition, record.key, record.value) for partition, record in live
    ]
    for (partition, record), (_, copy) in zip(live, copies, strict=True):
        place = f"router.conversations.v1/{partition}@{record.offset}".encode()
        marks = [("replay", told["replay"].encode()), ("replayed_from", place)]
        assert list(copy.headers) == [*record.headers, *marks]
    assert not list(Path().glob("*.replay.json"))


def test_a_repeat_after_a_crash_is_left_out(busy: Program) -> None:
    for partition, record in busy.records("conversations.v1"):
        busy.place_bytes("conversations.v1", partition, record.key, record.value or b"")
    assert replay(busy)["repeats_left_out"] == 7
    assert replay(busy, "--yes")["written"] == 7


def test_updates_are_chosen(busy: Program) -> None:
    (conversation,) = {each["conversation_id"] for each in busy("tail", "--contact", "c1", "--json").lines}
    assert replay(busy, "--conversation", conversation)["records"] == 3
    assert replay(busy, "--contact", "c1")["records"] == 3
    assert replay(busy, "--tenant", "acme", "--from", "PT1H")["records"] == 7
    partitions = [str(each) for each, _ in busy.records("conversations.v1")]
    first = partitions[0]
    assert replay(busy, "--partition", first)["records"] == partitions.count(first)
    assert replay(busy, "--partition", first, "--offsets", "0:1")["records"] == 1
    replay(busy, "--conversation", conversation, "--yes")
    assert [each["seq"] for each in replayed(busy)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        (["--tenant", "nobody"], "range_empty"),
        (["--until", "P1D"], "range_empty"),
        (["--from", "2099-01-01T00:00:00Z"], "range_empty"),
        (["--partition", "0", "--offsets", "900:901"], "range_empty"),
        (["--partition", str(PARTITIONS)], "partition_unknown"),
    ],
)
def test_what_is_not_there_is_told(busy: Program, choice: list[str], code: str) -> None:
    ran = busy("replay", "updates", "--to", TO, "--create", "--yes", *choice)
    assert ran.code == 1
    assert code in ran.err
    with pytest.raises(FatalError):
        busy.records(TO)


@pytest.mark.parametrize(
    "own", ["conversations.v1", "router.conversations.v1", "router.internal.log", "router.internal.x"]
)
def test_the_routers_own_topics_are_refused(busy: Program, own: str) -> None:
    ran = busy("replay", "updates", "--to", own, "--create", "--yes")
    assert ran.code == 1
    assert "target_refused" in ran.err


def test_a_replay_that_has_not_ended_is_gone_on_with(busy: Program, tmp_path: Path) -> None:
    """As after a kill: the file is from before, and a part is in the topic."""
    replay(busy, "--yes")
    done = busy.records(TO)
    kept = tmp_path / f"{TO}.replay.json"
    marks = dict(done[0][1].headers)
    lineages = [busy.lineage("conversations.v1"), busy.lineage(TO)]
    ranges = {str(each): [0, len([1 for at, _ in done if at == each])] for each in range(PARTITIONS)}
    state = {
        "replay": marks["replay"].decode(),
        "to": TO,
        "lineages": lineages,
        "selection": {"ranges": ranges},
        "next": dict.fromkeys(ranges, 0),
        "target_next": dict.fromkeys(ranges, 0),
    }
    kept.write_bytes(orjson.dumps(state))
    assert "replay_unfinished" in busy("replay", "updates", "--to", TO, "--yes").err
    busy.feed(sms("5", ANN))
    dry = busy("replay", "updates", "--resume", str(kept), "--json")
    assert (dry.code, dry.json["records"]) == (0, 0)
    ran = busy("replay", "updates", "--resume", str(kept), "--yes", "--json")
    assert (ran.code, ran.json["written"]) == (0, 0)
    assert busy.records(TO) == done
    assert not kept.exists()
    assert "replay_missing" in busy("replay", "updates", "--resume", str(kept)).err
    kept.write_bytes(orjson.dumps({**state, "lineages": ["x", "y"]}))
    assert "replay_stale" in busy("replay", "updates", "--resume", str(kept)).err
    kept.write_bytes(b"{}")
    assert "replay_unreadable" in busy("replay", "updates", "--resume", str(kept)).err


def test_a_replay_is_gone_on_with_by_one_run_at_a_time(tmp_path: Path) -> None:
    state = ReplayState("r1", TO, ("a", "b"), Selection({0: (0, 9)}), {0: 0}, {0: 0})
    further = replace(state, next={0: 5}, written=5)
    path = tmp_path / "x.replay.json"
    with closing(ReplayFile(path)) as running:
        running.begin(state)
        for _ in range(2):  # as it was made, and as it was put in place since
            with closing(ReplayFile(path)) as other:
                with pytest.raises(FatalError, match="replay_unfinished"):
                    other.begin(state)
                with pytest.raises(FatalError, match="replay_running"):
                    other.take()
            running.keep(further)
    with closing(ReplayFile(path)) as next_one:
        assert next_one.take() == further


def test_a_file_that_cannot_be_kept_is_told(busy: Program) -> None:
    for file in ("nowhere/x.json", "x" * 300):
        ran = busy("replay", "updates", "--to", TO, "--create", "--yes", "--state", file)
        assert (ran.code, ran.err.split()[1]) == (1, "replay_not_kept:")


def test_wrong_words_are_told(busy: Program) -> None:
    for words in (
        [],
        ["--to", TO, "--resume", "file"],
        ["--resume", "file", "--tenant", "acme"],
        ["--to", TO, "--offsets", "1:2"],
        ["--to", TO, "--partition", "0", "--offsets", "2:1"],
        ["--to", TO, "--from", "PT1H", "--until", "PT2H"],
        ["--to", TO, "--rate", "0"],
        *(["--to", name, "--create"] for name in ("", ".", "..", "a/b", "a b", "ä", "a" * 250)),
    ):
        assert busy("replay", "updates", *words).code == 2, words


def test_a_name_too_long_for_the_file_of_the_replay_is_told(busy: Program, tmp_path: Path) -> None:
    long = "a" * 249
    ran = busy("replay", "updates", "--to", long, "--create", "--yes")
    assert (ran.code, ran.err.split()[1]) == (1, "replay_not_kept:")
    assert busy("replay", "updates", "--to", long, "--create", "--yes", "--state", str(tmp_path / "kept")).code == 0
