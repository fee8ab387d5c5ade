"""Everything that can go wrong, by what is to be done about it."""

from typing import Literal

RefusalCode = Literal[
    "malformed_json",
    "schema_invalid",
    "too_large",
    "channel_mismatch",
    "address_invalid",
    "own_address",
    "agent_not_qualified",
    "agent_unknown",
    "interaction_unknown",
    "conversation_unknown",
    "conversation_closed",
    "conversation_linked",
    "not_linked_by_hand",
    "contact_unknown",
    "contact_merge_cycle",
    "unsupported_type",
    "payload_unknown",
]


class RouterError(Exception):
    """Something that the program says to people: a code, the cause and what to do."""

    def __init__(self, code: str, cause: str, advice: str = "") -> None:
        """Keep the parts; none of them holds personal data or a secret."""
        super().__init__(f"{code}: {cause}" + (f" {advice}" if advice else ""))
        self.code = code
        self.cause = cause
        self.advice = advice


class RetryableError(RouterError):
    """A server does not answer for now: take over anew and go on."""


class FatalError(RouterError):
    """Going on would guess: stop, and let somebody decide."""


class ConfigurationError(FatalError):
    """The settings do not fit the server, or lack what was asked for: somebody has to change either."""


class RejectedError(RouterError):
    """A record that goes to the dead letters, with its code and the field at fault."""

    code: RefusalCode

    def __init__(self, code: RefusalCode, cause: str, *, field: str | None = None) -> None:
        """Keep the parts; `cause` names the rule, never the value."""
        super().__init__(code, cause)
        self.code = code
        self.field = field
