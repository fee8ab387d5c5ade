"""JSON in no more memory than it has bytes."""


def trimmed(json: bytes) -> bytes:
    """Return the same bytes, for JSON that is held for a while.

    What `orjson.dumps` returns keeps the whole buffer that it was written in: 4 KiB at least, and up to eight times the
    text. A batch holds some for each record until its effects are acknowledged; the copy is quicker than their new pages.
    """
    return b"".join((json, b""))
