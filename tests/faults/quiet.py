"""What has to hold in a world in which nothing is under way any more; each fault is one line."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from interaction_router.domain import events
from interaction_router.domain.ids import Entity, home
from interaction_router.domain.messages import ContactSaved, InteractionEvent
from interaction_router.domain.rows import (
    Alias,
    Contact,
    Conversation,
    Endpoint,
    Entry,
    Moved,
    RowKey,
    aliases_key,
    conversation_key,
    endpoint_key,
    entry_field,
    index_bucket,
)
from tests.faults.concurrent import ConcurrentWorld
from tests.model.promises import check_updates
from tests.unit.against_model import told

_KNOWN_NO_MORE = ("the interaction is in two conversations", "updated where it is not")
_ALONG_A_CONTACT = "at goes back along the contact"


def faults_at_rest(world: ConcurrentWorld) -> list[str]:
    """Return all that is wrong once everything has been decided."""
    return [
        *_promises(world),
        *_interactions(world),
        *_contacts(world),
        *_endpoints(world),
        *_conversations(world),
        *_index(world),
        *_erased(world),
    ]


def faults_where_all_is_forgotten(world: ConcurrentWorld) -> list[str]:
    """Return what is wrong where interactions may be new again: everything but which of them are known."""
    promises = [fault for fault in _promises(world) if not fault.endswith(_KNOWN_NO_MORE)]
    return [*promises, *_contacts(world), *_endpoints(world), *_conversations(world)]


def _promises(world: ConcurrentWorld) -> Iterator[str]:
    """The promises to subscribers; of a merged-away contact two homes tell, each by its own log time."""
    away = {event.contact_id for event in world.events(events.AliasMade) if isinstance(event, events.AliasMade)}
    for fault in check_updates(told(each) for each in world.seen):
        if not (away and fault.endswith(_ALONG_A_CONTACT)):
            yield fault


def _given(world: ConcurrentWorld) -> Iterator[tuple[str, str, InteractionEvent]]:
    for given in world.given:
        if isinstance(given.message, InteractionEvent):
            message, tenant = given.message, given.to.tenant
            interaction = message.interaction
            entry = entry_field(tenant, message.party, interaction.channel, interaction.interaction_id)
            yield entry, f"{interaction.status}/{message.event_id or ''}", message


def _interactions(world: ConcurrentWorld) -> Iterator[str]:
    """Each interaction is in one conversation, each event of it told once; nothing of it is told that was not given."""
    added: dict[str, list[str]] = defaultdict(list)
    told_events: Counter[tuple[str, str]] = Counter()
    for event in world.events():
        if isinstance(event, events.InteractionAdded | events.InteractionUpdated):
            told_events[event.entry, event.event] += 1
        if isinstance(event, events.InteractionAdded):
            added[event.entry].append(event.now.conversation_id)
    erased = {event.now.conversation_id for event in world.events() if isinstance(event, events.Erased)}
    refused = any(refusal.code == "interaction_unknown" for refusal in world.refusals)
    for entry, name, message in _given(world):
        what = f"{message.party} {message.interaction.interaction_id} {name}"
        if len(added[entry]) > 1:
            yield f"{what}: in {len(added[entry])} conversations"
        if not added[entry] and not (refused and message.withheld):
            yield f"{what}: in no conversation"
        if told_events[entry, name] > 1:
            yield f"{what}: told {told_events[entry, name]} times"
        if added[entry] and not told_events[entry, name] and added[entry][0] not in erased and not message.withheld:
            yield f"{what}: not told"
    if unknown := set(added) - {entry for entry, _, _ in _given(world)}:
        yield f"{len(unknown)} interactions that nobody gave"


def _contacts(world: ConcurrentWorld) -> Iterator[str]:
    rows = _rows(world)
    conversations = world.conversations()
    for contact in (row for _, _, row in rows if isinstance(row, Contact)):
        name = f"contact {contact.tenant}/{contact.contact_id}"
        mine = [
            each
            for each in conversations.values()
            if each.tenant == contact.tenant and each.contact_id == contact.contact_id and each.status == "open"
        ]
        if contact.state != "live":
            if mine:
                yield f"{name} is {contact.state} and has {len(mine)} open"
            if contact.endpoints or contact.open or contact.name:
                yield f"{name} is {contact.state} and keeps something"
        else:
            if [each.conversation_id for each in mine] != [each for each in (contact.open,) if each]:
                yield f"{name}: {contact.open} is not what is open: {[each.conversation_id for each in mine]}"
            for party, claim in contact.endpoints.items():
                if claim.state == "claimed":
                    yield f"{name}: the claim of {party} is not answered"
        if contact.arrived:
            yield f"{name}: {len(contact.arrived)} have arrived and are not settled"
        edge = world.homes[home(Entity(contact.tenant, "aliases", ""), len(world.homes))].rows.get(
            aliases_key(contact.tenant, contact.contact_id)
        )
        if isinstance(edge, Alias) != (contact.state == "alias"):
            yield f"{name} is {contact.state}, its edge is {edge}"


def _endpoints(world: ConcurrentWorld) -> Iterator[str]:
    """Owner and contact say the same of each endpoint."""
    owners: dict[tuple[str, str], str] = {}
    for _, _, row in _rows(world):
        if isinstance(row, Contact):
            for party, claim in row.endpoints.items():
                at = home(Entity(row.tenant, "endpoint", party), len(world.homes))
                endpoint = world.homes[at].rows.get(endpoint_key(row.tenant, party))
                assert isinstance(endpoint, Endpoint)
                if (endpoint.owner == row.contact_id) != (claim.state == "confirmed"):
                    yield f"{row.contact_id} has {claim} on {party}, which is {endpoint}"
                if claim.state == "confirmed":
                    owners[endpoint_key(row.tenant, party).bucket, row.contact_id] = party
    for _, key, row in _rows(world):
        if isinstance(row, Endpoint) and row.owner is not None and (key.bucket, row.owner) not in owners:
            yield f"an endpoint is {row}, and the contact does not hold it"


def _conversations(world: ConcurrentWorld) -> Iterator[str]:
    """Each lives in one place, which every stub leads to; none of a saved endpoint is unlinked."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, _, row in _rows(world):
        if isinstance(row, Conversation):
            places[row.conversation_id].append(at)
            if home(row.owner, len(world.homes)) != at:
                yield f"conversation {row.conversation_id} of {row.owner} is in {at}"
            if row.contact_id is None and row.status != "erased" and row.owner.kind == "contact":
                yield f"conversation {row.conversation_id} is unlinked at {row.owner}"
            if row.contact_id is None and row.endpoint is not None:
                endpoint = world.homes[at].rows.get(endpoint_key(row.tenant, row.endpoint))
                if isinstance(endpoint, Endpoint) and endpoint.owner is not None:
                    yield f"conversation {row.conversation_id} is unlinked, its endpoint is {endpoint}"
    for opened in world.events():
        if isinstance(opened, events.Opened) and len(places[opened.now.conversation_id]) != 1:
            yield f"conversation {opened.now.conversation_id} is in {places[opened.now.conversation_id]}"
    for _, _, row in _rows(world):
        if isinstance(row, Moved) and not _leads_to_it(world, row):
            yield f"the stub of {row.conversation_id} leads nowhere"


def _leads_to_it(world: ConcurrentWorld, stub: Moved) -> bool:
    for _ in range(50):
        row = world.homes[home(stub.to, len(world.homes))].rows.get(conversation_key(stub.conversation_id))
        if not isinstance(row, Moved):
            return isinstance(row, Conversation)
        stub = row
    return False


def _index(world: ConcurrentWorld) -> Iterator[str]:
    """An entry stands where its conversation is, and every other entry leads to that one."""
    for _, key, row in _rows(world):
        if not isinstance(row, Entry):
            continue
        entry, hops = row, 0
        bucket = key.bucket
        while entry.to is not None and hops < 50:
            bucket, hops = index_bucket(entry.to), hops + 1
            found = world.homes[home(entry.to, len(world.homes))].rows.get(RowKey(bucket, key.field))
            if not isinstance(found, Entry):
                yield f"an entry of {row.conversation_id} leads to {entry.to.kind}, which does not know it"
                break
            entry = found
        else:
            if entry.to is not None:
                yield f"an entry of {row.conversation_id} leads round"
                continue
            there = world.conversations().get(entry.conversation_id)
            if there is None or index_bucket(there.owner) != bucket:
                yield f"an entry of {row.conversation_id} stands where its conversation is not"


def _erased(world: ConcurrentWorld) -> Iterator[str]:
    """Nothing that a person said, or is called, is left of what was erased."""
    left = "\n".join(f"{key} {row}" for _, key, row in _rows(world))
    marks = set(re.findall(r"(?:text|name)-\d+", left))
    erased = {event.now.conversation_id for event in world.events() if isinstance(event, events.Erased)}
    gone = {
        event.entry
        for event in world.events()
        if isinstance(event, events.InteractionAdded) and event.now.conversation_id in erased
    }
    for entry, name, message in _given(world):
        if entry in gone and message.interaction.details.get("text") in marks:
            yield f"the text of {message.party} {message.interaction.interaction_id} {name} is left"
    states = {
        Entity(row.tenant, "contact", row.contact_id): row.state
        for _, _, row in _rows(world)
        if isinstance(row, Contact)
    }
    for given in world.given:
        if isinstance(given.message, ContactSaved) and states.get(given.to) == "erased" and given.message.name in marks:
            yield f"the name of {given.to.key} is left"
    for row in world.conversations().values():
        if row.conversation_id in erased and (row.contact_id or row.endpoint):
            yield f"conversation {row.conversation_id} is erased and tells whose it was"
        if row.contact_id and states.get(Entity(row.tenant, "contact", row.contact_id)) == "erased":
            yield f"conversation {row.conversation_id} is of an erased contact and is not erased"


def _rows(world: ConcurrentWorld) -> list[tuple[int, RowKey, object]]:
    return [(at, key, row) for at, each in enumerate(world.homes) for key, row in each.rows.items()]
