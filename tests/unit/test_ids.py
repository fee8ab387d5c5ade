"""Ids and places: vectors that no later version may change, and Kafka's own partitioner as the oracle."""

from uuid import UUID

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.domain.ids import (
    Entity,
    EntityKind,
    Place,
    contact_update_id,
    conversation_id,
    entity_hash,
    home,
    partition_of_key,
    update_id,
)

PLACE = Place("interactions.sms.v1", 3, 812)


@pytest.mark.parametrize(
    ("kind", "key", "hashed"),
    [
        ("contact", "c42", 0xF32D1A7B),
        ("endpoint", "tel:+27821234567", 0x1581AAA5),
        ("aliases", "", 0xCE3736C7),
        ("conversation", "1581aaa5-5bcb-8b19-948c-15095a2f6250", 0x1581AAA5),
        ("conversation", "no UUID", 0x42FBE9A5),
    ],
)
def test_the_hash_of_an_entity_stays(kind: EntityKind, key: str, hashed: int) -> None:
    """Another hash would look for rows where they are not."""
    entity = Entity("acme", kind, key)
    assert entity_hash(entity) == hashed
    assert home(entity, 8) == hashed % 8


def test_a_conversation_begins_with_the_hash_of_its_opener() -> None:
    """So its first home is found with arithmetic; version and variant are those of RFC 9562."""
    opener = Entity("acme", "endpoint", "tel:+27821234567")
    key = conversation_id(opener, PLACE)
    assert key.startswith("1581aaa5-")
    assert (key[14], key[19] in "89ab") == ("8", True)
    assert entity_hash(Entity("acme", "conversation", key)) == entity_hash(opener)
    assert key != conversation_id(opener, PLACE._replace(offset=813))


def test_an_update_has_an_id_of_its_own() -> None:
    """It depends on the conversation and the number alone."""
    one = conversation_id(Entity("acme", "contact", "c1"), Place("interactions.sms.v1", 0, 1))
    ids = [one, *(update_id(one, seq) for seq in (1, 2, 2**40))]
    assert len(set(ids)) == 4
    assert {UUID(each).version for each in ids} == {8}
    assert update_id("0c3e8b3a-1f0e-8c55-9a51-000000000001", 2) == "0c3e8b3a-1f0e-8c55-9a51-000000000003"


def test_the_id_of_a_contacts_update_depends_on_its_words_alone() -> None:
    assert contact_update_id("k", "1") == contact_update_id("k", "1") != contact_update_id("k", "2")
    assert UUID(contact_update_id("k", "1")).version == 8


@given(st.binary(min_size=1, max_size=40), st.integers(1, 50))
def test_a_key_goes_where_kafka_clients_put_it(key: bytes, partitions: int) -> None:
    """A CRM and the command line write one key to one partition."""
    every = list(range(partitions))
    assert partition_of_key(key, partitions) == DefaultPartitioner()(key, every, every)
