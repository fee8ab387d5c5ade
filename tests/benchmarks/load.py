"""What the benchmark feeds in: saved contacts and their interactions, the same ones for the same seed.

Numbers are of the ranges kept for fiction, mailboxes of `example.com`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

import orjson

from interaction_router.adapters.kafka.log import KafkaLog
from interaction_router.application.simulation import person
from interaction_router.ports import Outgoing

PARTITIONS = 8
TENANT = "acme"
CONTACTS = "contacts.v1"
SMS = "interactions.sms.v1"
EMAIL = "interactions.email.v1"

_CHUNK = 5_000
_SEED = 7
_AT = "2026-11-22T10:15:30.120+02:00"
_TEXT = "Please change the delivery address of my parcel to the one of my office, thank you!"

Numbered = tuple[int, Outgoing]
"""A record with the number of its contact, which decides the partition."""


def saves(contacts: range, *, channel: str) -> Iterator[Numbered]:
    """Return the saves of contacts, each with the one address that it has on the channel."""
    for nth in contacts:
        event = {
            "tenant": TENANT,
            "type": "contact.saved",
            "contact_id": f"c{nth}",
            "name": "Ada Adler",
            "addresses": [_address(nth, channel)],
            "at": _AT,
        }
        yield nth, Outgoing(f"{TENANT}|c{nth}".encode(), orjson.dumps(event))


def interactions(count: int, contacts: range, *, channel: str, prefix: str) -> Iterator[Numbered]:
    """Return interactions of contacts that are drawn at random; `prefix` begins their ids."""
    random = Random(_SEED)
    for number in range(count):
        yield interaction(random.choice(contacts), f"{prefix}{number}", channel=channel)


def one_each(contacts: range, *, channel: str) -> Iterator[Numbered]:
    """Return one interaction of each contact."""
    for nth in contacts:
        yield interaction(nth, f"one-{nth}", channel=channel)


def interaction(nth: int, interaction_id: str, *, channel: str) -> Numbered:
    """Return one inbound interaction of one contact."""
    address = _address(nth, channel)
    return nth, Outgoing(f"{TENANT}|{address}".encode(), orjson.dumps(_fields(address, interaction_id, channel)))


def resolved(count: int, contacts: range) -> Iterator[Numbered]:
    """Return the interactions as the peers get them: with the contact found already, and keyed by it."""
    random = Random(_SEED)
    for number in range(count):
        nth = random.choice(contacts)
        fields = {**_fields(_address(nth, "sms"), f"SM{number:032x}", "sms"), "contact_id": f"c{nth}"}
        yield nth, Outgoing(f"{TENANT}|c{nth}".encode(), orjson.dumps(fields))


async def fill(
    log: KafkaLog,
    stream: str,
    records: Iterator[Numbered],
    *,
    partitions: int = PARTITIONS,
    tell: Callable[[int], None],
) -> None:
    """Append the records, each contact's in one partition; `tell` hears how many were appended more."""
    while chunk := list(islice(records, _CHUNK)):
        batches: dict[int, list[Outgoing]] = defaultdict(list)
        for nth, record in chunk:
            batches[nth % partitions].append(record)
        await asyncio.gather(*(log.append(stream, partition, batch) for partition, batch in batches.items()))
        tell(len(chunk))


def _address(nth: int, channel: str) -> str:
    return f"customer.{nth}@example.com" if channel == "email" else person(nth).number


def _fields(address: str, interaction_id: str, channel: str) -> dict[str, Any]:  # Any: JSON
    return {
        "tenant": TENANT,
        "channel": channel,
        "direction": "inbound",
        "interaction_id": interaction_id,
        "occurred_at": _AT,
        "from": address,
        "to": ["care@example.com" if channel == "email" else "+44 20 7946 0000"],
        "text": _TEXT,
        "provider": "benchmark",
        "metadata": {"queue": "parcels"},
    }
