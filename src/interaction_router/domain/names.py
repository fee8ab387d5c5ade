"""What topics are called, and what tenants may be."""

from typing import Final

TENANT_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
TENANT_RULE: Final = "has to be 1 to 64 of a-z, 0-9, _ and -, the first a letter or digit"

_INPUTS: Final = frozenset({"contacts.v1", "agents.v1", "commands.v1"})
_INTERACTIONS: Final = "interactions."


def topic_name(namespace: str, stream: str, inputs: str | None = None) -> str:
    """Return the topic of a stream; `inputs` is the namespace of what comes from outside, where it is another."""
    outside = inputs is not None and (stream in _INPUTS or stream.startswith(_INTERACTIONS))
    return f"{inputs if outside else namespace}.{stream}"


def stream_name(namespace: str, topic: str, inputs: str | None = None) -> str:
    """Return the stream of a topic; of one that is none of the router's, its whole name."""
    for prefix in (namespace, inputs):
        stream = topic.removeprefix(f"{prefix}.")
        if stream != topic and topic_name(namespace, stream, inputs) == topic:
            return stream
    return topic
