"""One record's turn: the rows as they are, the events and sends so far, and the steps that every decision is made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from interaction_router.domain.errors import RefusalCode
from interaction_router.domain.events import (
    Closed,
    Erased,
    Event,
    InteractionAdded,
    Linked,
    Opened,
    Refusal,
    RowPut,
    Rule,
    Standing,
)
from interaction_router.domain.evolve import evolve
from interaction_router.domain.ids import Entity, conversation_id
from interaction_router.domain.interactions import Interaction
from interaction_router.domain.messages import ANONYMOUS, IndexGrown, LogRecord, Message, Send
from interaction_router.domain.rows import (
    POLICY,
    Alias,
    CloseReason,
    Contact,
    Conversation,
    Endpoint,
    Entry,
    Line,
    LinkedBy,
    Moved,
    Policy,
    Row,
    RowKey,
    contact_key,
    conversation_key,
    endpoint_key,
    index_bucket,
)
from interaction_router.domain.values import replace

_Kind = TypeVar("_Kind", Contact, Endpoint, Entry, Alias, Line, Policy)
GROWN_INTERACTIONS = 500
"""An index is gone through once so many interactions of its owner have closed since the last time."""

_LINK_RULES: Mapping[LinkedBy, Rule] = {"save": "saved", "hand": "by_hand", "merge": "merged"}


class NotLoaded(Exception):  # noqa: N818 - not an error: the rows that the decision needs besides
    """The decision needs rows that nobody has loaded yet; load them and decide again."""

    def __init__(self, keys: Sequence[RowKey] = (), *, bucket: str | None = None) -> None:
        """Name rows, or a whole bucket."""
        super().__init__(bucket or keys)
        self.keys = keys
        self.bucket = bucket


class Turn:
    """The decision of one record in the making. Nothing outside changes before it is taken."""

    __slots__ = ("_buckets", "_rows", "changes", "events", "log_time_ms", "offset", "record", "refusal", "sends")

    def __init__(
        self,
        rows: Mapping[RowKey, Row | None],
        buckets: Mapping[str, tuple[str, ...]],
        record: LogRecord,
        *,
        offset: int,
        log_time_ms: int,
    ) -> None:
        """`rows` are those loaded, None for those that are not there; `buckets` the fields of whole buckets."""
        self._rows = rows
        self._buckets = buckets
        self.record = record
        self.offset = offset
        self.log_time_ms = log_time_ms
        self.changes: dict[RowKey, Row | None] = {}
        self.events: list[Event] = []
        self.sends: list[Send] = []
        self.refusal: Refusal | None = None

    def row(self, key: RowKey) -> Row | None:
        """Return a row as it is now. Raises: NotLoaded."""
        changes = self.changes
        if key in changes:
            return changes[key]
        try:
            return self._rows[key]
        except KeyError:
            raise NotLoaded((key,)) from None

    def need(self, keys: Iterable[RowKey]) -> None:
        """Ask for many rows at once. Raises: NotLoaded, with all that are missing."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._rows and key not in self.changes]
        if missing:
            raise NotLoaded(missing)

    def get(self, key: RowKey, kind: type[_Kind]) -> _Kind | None:
        """Return a row of a kind as it is now. Raises: NotLoaded."""
        row = self.row(key)
        if row is None or isinstance(row, kind):
            return row
        raise TypeError(f"the row {key.bucket} is a {type(row).__name__}, not a {kind.__name__}")

    def conversation(self, key: str) -> Conversation | Moved | None:
        """Return a conversation of the record's tenant, its stub, or None. Raises: NotLoaded."""
        row = self.row(conversation_key(key))
        if not isinstance(row, Conversation | Moved) or row.tenant != self.tenant:
            return None
        return row

    def here(self, key: str) -> Conversation:
        """Return a conversation that is here. Raises: NotLoaded."""
        row = self.row(conversation_key(key))
        if not isinstance(row, Conversation):
            raise TypeError(f"the conversation {key} is not in this partition")
        return row

    def index(self, owner: Entity) -> dict[str, Entry]:
        """Return the whole interaction index of an entity, by field in order. Raises: NotLoaded."""
        bucket = index_bucket(owner)
        if bucket not in self._buckets:
            raise NotLoaded(bucket=bucket)
        fields = {*self._buckets[bucket], *(key.field for key in self.changes if key.bucket == bucket)}
        found = ((field, self.get(RowKey(bucket, field), Entry)) for field in sorted(fields))
        return {field: entry for field, entry in found if entry is not None}

    @property
    def tenant(self) -> str:
        """The record's tenant."""
        return self.record.to.tenant

    @property
    def policy(self) -> Policy:
        """The policy in force. Raises: NotLoaded."""
        return self.get(POLICY, Policy) or Policy()

    def emit(self, event: Event) -> None:
        """Take an event down, with what it does to the rows."""
        self.changes.update(evolve(self.row, event, log_time_ms=self.log_time_ms, offset=self.offset))
        self.events.append(event)

    def put(self, key: RowKey, row: Row) -> None:
        """Set a row that is of no concern to subscribers."""
        self.emit(RowPut(key, row))

    def send(self, to: Entity, message: Message) -> None:
        """Tell another home, or this one later."""
        self.sends.append(Send(to, message))

    def refuse(self, code: RefusalCode, message: str, *, field: str | None = None) -> None:
        """Send the record to the dead letters."""
        self.refusal = Refusal(code, message, field)

    def contact(self, contact_id: str) -> Contact:
        """Return a contact of the tenant, in the state `absent` where it was never saved. Raises: NotLoaded."""
        return self.get(contact_key(self.tenant, contact_id), Contact) or Contact(self.tenant, contact_id, "absent")

    def put_contact(self, contact: Contact) -> None:
        """Set a contact's row."""
        self.put(contact_key(contact.tenant, contact.contact_id), contact)

    def open(
        self, owner: Entity, *, contact_id: str | None, endpoint: str | None, previous: str | None, rule: Rule
    ) -> Conversation:
        """Open a conversation with `owner`."""
        if self.record.cause is None:
            raise TypeError("only a raw record opens a conversation")
        key = conversation_id(owner, self.record.cause)
        self.emit(Opened(Standing(key, 1, contact_id, endpoint, "open", rule), owner, previous))
        return self.here(key)

    def add(self, to: Conversation, *, entry: str, event: str, interaction: Interaction, rule: Rule) -> None:
        """Let an interaction join."""
        self.emit(InteractionAdded(standing(to, rule), entry, event, interaction))

    def close(self, conversation: Conversation, reason: CloseReason, *, into: str | None = None) -> Conversation:
        """Close an open conversation, for good."""
        self.emit(Closed(standing(conversation, reason)._replace(status="closed"), reason, into))
        self._grow(conversation)
        return self.here(conversation.conversation_id)

    def keys_of_owner(self, conversation: Conversation) -> list[RowKey]:
        """Return the row of the conversation's owner; a withheld party has none."""
        owner = conversation.owner
        if owner.kind == "contact":
            return [contact_key(owner.tenant, owner.key)]
        return [] if owner.key.startswith(ANONYMOUS) else [endpoint_key(owner.tenant, owner.key)]

    def _grow(self, closed: Conversation) -> None:
        """Let the owner's index be gone through once much has closed there; a contact's row has counted it already."""
        for key in self.keys_of_owner(closed):
            row = self.row(key)
            if isinstance(row, Endpoint):
                row = replace(row, grown=row.grown + closed.interaction_count)
                self.put(key, row)
            if isinstance(row, Contact | Endpoint) and row.grown >= GROWN_INTERACTIONS:
                self.put(key, replace(row, grown=0))
                self.send(closed.owner, IndexGrown())

    def retire(self, conversation: Conversation) -> None:
        """Take a closed conversation out of the lists that people look through."""
        self.put(conversation_key(conversation.conversation_id), replace(conversation, retired=True))

    def link(self, conversation: Conversation, contact_id: str, by: LinkedBy) -> Conversation:
        """Give a conversation that is here its contact."""
        self.emit(Linked(standing(conversation, _LINK_RULES[by])._replace(contact_id=contact_id), by))
        return self.here(conversation.conversation_id)

    def erase(self, conversation: Conversation) -> None:
        """Take the personal data of a conversation away; those of its interactions are the caller's to blank."""
        now = standing(conversation, "erased")._replace(contact_id=None, endpoint=None)
        self.emit(Erased(now))

    def saw_command(self, conversation_key_: str, command_id: str) -> None:
        """Remember with the conversation that the command was carried out."""
        row = self.here(conversation_key_)
        self.put(conversation_key(conversation_key_), replace(row, commands=(*row.commands, command_id)))


def standing(row: Conversation, rule: Rule) -> Standing:
    """Return what the next update of the conversation says, if it changes nothing else."""
    return Standing(row.conversation_id, row.seq + 1, row.contact_id, row.endpoint, row.status, rule)
