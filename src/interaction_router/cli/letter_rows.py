"""How a dead letter looks."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interaction_router.cli.invocation import Invocation
from interaction_router.cli.output import safe

if TYPE_CHECKING:
    from interaction_router.application.handled import Handling
    from interaction_router.application.letters import Letter
    from interaction_router.ports import Received


def letter_row(letter: "Letter", handling: "Handling | None") -> dict[str, object]:
    """Return a letter for a table."""
    from interaction_router.wire.times import spell_time  # noqa: PLC0415 - `--help` needs no codec

    return {
        "place": letter.short_place,
        "at": spell_time(letter.stamp_ms),
        "code": letter.code,
        "stage": letter.stage,
        "source": letter.name if letter.source is not None else letter.topic,
        "message": letter.message,
        "handled": None if handling is None else handling.state,
    }


def letter_json(letter: "Letter", handling: "Handling | None") -> dict[str, Any]:
    """Return a letter as JSON."""
    from interaction_router.wire.times import spell_time  # noqa: PLC0415 - `--help` needs no codec

    source = letter.source
    return {
        "place": letter.short_place,
        "at": spell_time(letter.stamp_ms),
        "code": letter.code,
        "message": letter.message,
        "field": letter.field,
        "stage": letter.stage,
        "topic": letter.topic,
        "partition": None if source is None else source.partition,
        "offset": None if source is None else source.offset,
        "size": letter.size_bytes,
        "redriven_from": letter.redriven_from,
        "handled": None if handling is None else _handling(handling),
    }


def show_letter(invocation: Invocation, letter: "Letter", record: "Received", handling: "Handling | None") -> None:
    """Print one letter with what it holds."""
    from interaction_router.application.letters import own_headers  # noqa: PLC0415 - `--help` needs no clients

    shown = letter_json(letter, handling)
    headers = own_headers(record)
    if invocation.as_json:
        key = {"key": _text(record.key), "key_base64": _base64(record.key)}
        value = {"value": _text(record.value), "value_base64": _base64(record.value)}
        invocation.output.document({**shown, "headers": _headers(headers), **key, **value})
        return
    shown["key"] = _shown(record.key)
    shown |= {f"header {name}": _shown(value) for name, value in headers}
    invocation.output.record(shown)
    invocation.output.text("")
    text = _text(record.value)
    if record.value is None:
        invocation.output.note("it holds nothing: a null value")
    elif text is None:
        invocation.output.note(f"{letter.size_bytes} bytes that are no text; `--raw` writes them out")
    else:
        invocation.output.text("\n".join(safe(line) for line in text.split("\n")))


def _handling(handling: "Handling") -> dict[str, object]:
    from interaction_router.wire.times import spell_time  # noqa: PLC0415 - as above

    at = spell_time(handling.at_ms)
    return {"state": handling.state, "by": handling.actor, "at": at, "to": handling.to}


def _headers(headers: Sequence[tuple[str, bytes]]) -> list[dict[str, object]]:
    return [{"name": name, "value": _text(value), "value_base64": _base64(value)} for name, value in headers]


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(value: bytes | None) -> str | None:
    """Return the bytes where they are no text."""
    return base64.b64encode(value).decode() if value is not None and _text(value) is None else None


def _shown(value: bytes | None) -> str | None:
    text = _text(value)
    return text if text is not None or value is None else f"{len(value)} bytes that are no text"
