"""Who a record is for, where that lives, and the ids that depend only on what was ordered in the log."""

from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple

EntityKind = Literal["contact", "endpoint", "aliases", "conversation", "partition"]

_VERSION_8 = 0x8 << 76
_VARIANT_RFC_9562 = 0b10 << 62
_CUSTOM_BITS = (1 << 128) - 1 - (0xF << 76) - (0b11 << 62)
_HEX_OF_HASH = 8
_HEX_OF_NODE = 12
_LENGTH_OF_UUID = 36
_VARIANT_DIGITS = "89ab"


class Entity(NamedTuple):
    """What a log record is for: one row's owner, in one partition.

    `key` is the contact id, the endpoint (`tel:+27821234567`, or `anonymous/<channel>/<interaction id>` for a
    withheld party), the conversation id, the empty string for a tenant's aliases, or the number of a partition.
    """

    tenant: str
    kind: EntityKind
    key: str


class Place(NamedTuple):
    """Where a record stands: the topic without its namespace, the partition and the offset."""

    stream: str
    partition: int
    offset: int


@lru_cache(maxsize=16_384)
def digest(*words: str) -> bytes:
    """Return 16 bytes that name `words`; the words cannot be read back, so a key made of them holds no address."""
    return blake2b("\0".join(words).encode(), digest_size=16).digest()


@lru_cache(maxsize=16_384)
def entity_hash(entity: Entity) -> int:
    """Return the 32 bits that place `entity`: of a conversation, those of the entity that opened it."""
    if entity.kind == "conversation":
        return conversation_hash(entity.key)
    return int.from_bytes(digest(*entity)[:4], "big")


def conversation_hash(conversation_id: str) -> int:
    """Return the first 32 bits of the id; a string that is no UUID has no home of its own and is hashed."""
    head = conversation_id[:_HEX_OF_HASH]
    try:
        return int(head, 16) if len(conversation_id) == _LENGTH_OF_UUID else hash_of_text(conversation_id)
    except ValueError:
        return hash_of_text(conversation_id)


def hash_of_text(text: str) -> int:
    """Return 32 bits of any text."""
    return int.from_bytes(digest(text)[:4], "big")


def partition_of_key(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's clients choose for a key, so that other producers of it meet us there.

    Source: org.apache.kafka.common.utils.Utils.murmur2 and BuiltInPartitioner.partitionForKey.
    """
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    hashed = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        hashed = (hashed * multiplier & mask) ^ word
    if whole < len(data):
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    hashed = (hashed ^ hashed >> 13) * multiplier & mask
    return hashed ^ hashed >> 15


def home(entity: Entity, partitions: int) -> int:
    """Return the partition of `entity`; the same function everywhere."""
    if entity.kind == "partition":
        return int(entity.key)
    return entity_hash(entity) % partitions


def conversation_id(opener: Entity, cause: Place) -> str:
    """Return the UUIDv8 of the conversation that the record at `cause` opened at `opener`.

    The first 32 bits are the hash of the opener, so that an id's first home is found with arithmetic; the rest is a
    digest of tenant, entity and place. Source: RFC 9562 section 5.8.
    """
    rest = blake2b("\0".join((*opener, cause.stream, str(cause.partition), str(cause.offset))).encode(), digest_size=12)
    value = (entity_hash(opener) << 96) | int.from_bytes(rest.digest(), "big")
    return _uuid8(value)


def update_id(conversation_id: str, seq: int) -> str:
    """Return the UUIDv8 of a conversation's update: that of the conversation, with `seq` laid over its last 48 bits."""
    return f"{conversation_id[:-_HEX_OF_NODE]}{int(conversation_id[-_HEX_OF_NODE:], 16) ^ seq:012x}"


def contact_update_id(*words: str) -> str:
    """Return the UUIDv8 of an update of a contact, by its type, its ids and its place."""
    text = blake2b("\0".join(words).encode(), digest_size=16).hexdigest()
    variant = _VARIANT_DIGITS[int(text[16], 16) & 0b11]
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _uuid8(value: int) -> str:
    text = f"{(value & _CUSTOM_BITS) | _VERSION_8 | _VARIANT_RFC_9562:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
