"""What the event loop says of a connection that has ended."""

_CLOSED = "the handler is closed"


def is_closed_transport(error: RuntimeError) -> bool:
    """Return whether uvloop refused to write since the other side has just ended the connection.

    asyncio's own transports drop what is written then; libraries are made for that, and let this error through.
    """
    return _CLOSED in str(error)
