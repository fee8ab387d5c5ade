"""Raw records: each is assigned, a repeat, or refused; nothing is lost and nothing is made up."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from interaction_router.application.intake import COMMANDS, CONTACTS, IntakeSettings
from interaction_router.application.views import DEAD_LETTERS
from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Place
from interaction_router.ports import Received
from interaction_router.wire.commands import command_message
from interaction_router.wire.contacts import contact_message
from interaction_router.wire.interactions import interaction_message, parse_interaction
from tests.checker.source import Difference, Source
from tests.checker.told import Told, Update

_ABOUT_INTERACTIONS = frozenset({"conversation.interaction_added", "conversation.interaction_updated"})
_HEADERS_OF_A_LETTER = ("dlq_code", "dlq_message", "dlq_stage", "dlq_topic", "dlq_partition", "dlq_offset")


class Name(NamedTuple):
    """What names an interaction (contract 1)."""

    tenant: str
    channel: str
    interaction_id: str
    party: str


class Reading(NamedTuple):
    """What a raw record says by itself: an interaction's event, or why it cannot be taken."""

    name: Name | None
    event: str
    code: str | None


def check_assigned(source: Source, told: Told, settings: IntakeSettings) -> list[Difference]:
    """Every raw interaction is in exactly one conversation, or refused, exactly once."""
    raw = source.raw()
    letters, differences = _letters(source, raw)
    readings = {place: _read(place, record, settings) for place, record in raw.items()}
    differences += _check_causes(source, told, readings, letters)
    homes, events, erased = _told_of(source, told, readings)
    known: dict[Name, Place] = {}
    for place, reading in readings.items():
        where = f"{place.stream}/{place.partition}/{place.offset}"
        if reading.code is not None and letters.get(place) != reading.code:
            differences.append(
                Difference("not_refused", where, f"{reading.code} was due, {letters.get(place)} is told")
            )
        if reading.name is None or place in letters:
            continue
        known[reading.name] = place
        found = homes.get(reading.name, set())
        if len(found) != 1:
            name = "lost" if not found else "in_two_conversations"
            differences.append(Difference(name, where, f"it is in {sorted(found)}"))
            continue
        count = events.get((reading.name, reading.event), 0)
        if count > 1 or (count == 0 and not found & erased):
            differences.append(Difference("event_told", where, f"{reading.event} is told {count} times"))
    return differences


def _letters(source: Source, raw: dict[Place, Received]) -> tuple[dict[Place, str], list[Difference]]:
    """Return the codes of what was refused; a letter has the record's bytes, and a repeat of it is the same letter."""
    differences: list[Difference] = []
    first: dict[Place, tuple[object, ...]] = {}
    codes: dict[Place, str] = {}
    for records in source.records[DEAD_LETTERS]:
        for letter in records:
            headers = dict(letter.headers)
            if "dlq_offset" not in headers:
                continue  # a receiver's: the payload never was a record
            stream = source.stream_of(headers["dlq_topic"].decode())
            place = Place(stream, int(headers["dlq_partition"]), int(headers["dlq_offset"]))
            where = f"{place.stream}/{place.partition}/{place.offset}"
            letter_bytes = (letter.key, letter.value, tuple(letter.headers))
            if first.setdefault(place, letter_bytes) != letter_bytes:
                differences.append(Difference("letter_differs", where, f"offset {letter.offset} of the dead letters"))
            codes[place] = headers["dlq_code"].decode()
            own = tuple(each for each in letter.headers if each[0] not in _HEADERS_OF_A_LETTER)
            record = raw.get(place)
            if record is None:
                differences.append(Difference("letter_of_nothing", where, "there is no such record"))
            elif (record.key, record.value, tuple(record.headers)) != (letter.key, letter.value, own):
                differences.append(Difference("letter_not_intact", where, "it is not the record as it came"))
    return codes, differences


def _read(place: Place, record: Received, settings: IntakeSettings) -> Reading:
    try:
        if place.stream == CONTACTS:
            contact_message(record.value, region_of=settings.region)
        elif place.stream == COMMANDS:
            command_message(record.value)
        else:
            return _read_interaction(place, record, settings)
    except RejectedError as error:
        return Reading(None, "", error.code)
    return Reading(None, "", None)


def _read_interaction(place: Place, record: Received, settings: IntakeSettings) -> Reading:
    channel = place.stream.removeprefix("interactions.").removesuffix(".v1")
    raw = parse_interaction(record.value, channel_of_topic=channel)
    _, message = interaction_message(
        raw, region=settings.region(raw.tenant), own_addresses=settings.addresses(raw.tenant)
    )
    name = Name(raw.tenant, channel, raw.interaction.interaction_id, message.party)
    return Reading(name, f"{raw.interaction.status}/{raw.event_id or ''}", None)


def _place_of(source: Source, update: Update) -> Place:
    cause = update["cause"]
    return Place(source.stream_of(cause["topic"]), cause["partition"], cause["offset"])


def _check_causes(
    source: Source, told: Told, readings: dict[Place, Reading], letters: dict[Place, str]
) -> Iterator[Difference]:
    """A cause is there, and was not refused."""
    for updates in (*told.conversations.values(), told.contacts):
        for update in updates:
            place = _place_of(source, update)
            where = f"{update.get('conversation_id')}#{update.get('seq')}"
            if place not in readings and not place.stream.startswith("internal."):
                yield Difference("cause_unknown", where, f"{place} is no record")
            if place in letters:
                yield Difference("refused_and_done", where, f"{place} was refused with {letters[place]}")


def _told_of(
    source: Source, told: Told, readings: dict[Place, Reading]
) -> tuple[dict[Name, set[str]], dict[tuple[Name, str], int], set[str]]:
    """Return the conversations of each interaction, how often each event was told, and what was erased."""
    homes: dict[Name, set[str]] = defaultdict(set)
    events: dict[tuple[Name, str], int] = defaultdict(int)
    erased = set()
    for key, updates in told.conversations.items():
        for update in updates:
            if update["type"] == "conversation.erased":
                erased.add(key)
            reading = readings.get(_place_of(source, update))
            if update["type"] in _ABOUT_INTERACTIONS and reading is not None and reading.name is not None:
                homes[reading.name].add(key)
                events[reading.name, reading.event] += 1
    return homes, events, erased
