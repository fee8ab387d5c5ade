"""What tables hold as lines of JSON: `row` or `score`, and its `value` (of the head, no JSON, its `text`)."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from interaction_router.application.views import HEAD
from interaction_router.domain.errors import FatalError
from interaction_router.domain.rows import RowKey
from interaction_router.ports import Writes

Line = dict[str, Any]  # Any: JSON

_ROW: Final = b'{"row":["'
_SCORE: Final = b'{"score":["'
_VALUE: Final = b'"],"value":'
"""Within a text of JSON every quotation mark has a backslash before it, so these stand nowhere else in a line."""

OTHER_FILE: Final = "Use a file that `interaction-router state export` has written to its end."


def read_lines(file: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of a file.

    Raises:
        FatalError: one is no JSON object.
    """
    for number, text in enumerate(file, 1):
        try:
            line = orjson.loads(text)
        except orjson.JSONDecodeError:
            line = None
        if not isinstance(line, dict):
            raise FatalError("copy_unreadable", f"Line {number} is no JSON object.", OTHER_FILE)
        yield line


def lines_of(
    rows: Iterable[tuple[RowKey, bytes | None]], scores: Iterable[tuple[tuple[str, str], float | None]]
) -> Iterator[Line]:
    """Yield a line for each row and score that there is."""
    for key, value in rows:
        if value is None:
            continue
        if key.bucket == HEAD:
            yield {"row": [*key], "text": value.decode()}
        else:
            yield {"row": [*key], "value": orjson.Fragment(value)}
    for member, score in scores:
        if score is not None:
            yield {"score": [*member], "value": score}


def take_line(line: Line, into: Writes) -> None:
    """Add what a line says.

    Raises:
        FatalError: it says nothing of the kind.
    """
    try:
        if "row" in line:
            bucket, field = line["row"]
            text = line.get("text")
            into.puts[RowKey(bucket, field)] = orjson.dumps(line["value"]) if text is None else text.encode()
        else:
            name, member = line["score"]
            into.scores[name, member] = float(line["value"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FatalError("copy_unreadable", "A line of the copy is neither a row nor a score.", OTHER_FILE) from error


def writes_of(lines: Iterable[bytes]) -> Writes:
    """Return what lines say that `lines_of` and orjson have made, with values as they stand there: never parsed.

    Raises:
        FatalError: one cannot be read.
    """
    into = Writes()
    puts, scores = into.puts, into.scores
    for line in lines:
        begin, _, value = line.partition(_VALUE)
        if not value or b"\\" in begin:
            for each in read_lines([line]):
                take_line(each, into)
        elif begin.startswith(_ROW):
            bucket, _, field = begin[len(_ROW) :].decode().partition('","')
            puts[RowKey(bucket, field)] = value[:-1]
        else:
            name, _, member = begin[len(_SCORE) :].decode().partition('","')
            scores[name, member] = float(value[:-1])
    return into
