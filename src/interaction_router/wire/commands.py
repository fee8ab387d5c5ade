"""Commands (section 6 of the contract), and what they tell the log."""

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.ids import Entity
from interaction_router.domain.messages import CloseAsked, EraseAsked, LinkAsked, UnlinkAsked
from interaction_router.wire import schema
from interaction_router.wire.schema import Envelope, Id, Text
from interaction_router.wire.strict_json import read_object

CommandMessage = CloseAsked | LinkAsked | UnlinkAsked | EraseAsked


class _Command(Envelope):
    command_id: Id
    actor: Text | None = None
    reason: Text | None = None
    at: Text | None = None


class _ConversationCommand(_Command):
    conversation_id: Id


class _LinkCommand(_ConversationCommand):
    contact_id: Id


class _ContactCommand(_Command):
    contact_id: Id


def command_message(value: bytes | None) -> tuple[Entity, CommandMessage]:
    """Return what a command asks, and of whom.

    Raises:
        RejectedError: `too_large`, `malformed_json`, `schema_invalid` or `unsupported_type`.
    """
    fields = read_object(value)
    kind = schema.validated(Envelope, fields).type
    command: _Command
    entity: Entity
    message: CommandMessage
    match kind:
        case "conversation.close":
            command = close = schema.validated(_ConversationCommand, fields)
            entity = Entity(close.tenant, "conversation", close.conversation_id)
            message = CloseAsked(close.conversation_id, close.command_id, close.reason, close.actor)
        case "conversation.link":
            command = link = schema.validated(_LinkCommand, fields)
            entity = Entity(link.tenant, "contact", link.contact_id)
            message = LinkAsked(link.conversation_id, link.contact_id, link.command_id)
        case "conversation.unlink":
            command = unlink = schema.validated(_ConversationCommand, fields)
            entity = Entity(unlink.tenant, "conversation", unlink.conversation_id)
            message = UnlinkAsked(unlink.conversation_id, unlink.command_id)
        case "contact.erase":
            command = erase = schema.validated(_ContactCommand, fields)
            entity = Entity(erase.tenant, "contact", erase.contact_id)
            message = EraseAsked(erase.contact_id, erase.command_id)
        case _:
            raise RejectedError("unsupported_type", "no type of a command", field="type")
    schema.check_time("at", command.at)
    return entity, message
