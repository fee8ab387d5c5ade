"""Log set-up: structured events on standard error, by name, with ids and never with personal data."""

import logging
import sys
import time

import orjson

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_QUIET = ("aiokafka", "faust", "mode", "asyncio", "mail.log", "imapclient", "interaction_router.adapters.kafka")
"""Libraries, of which some log addresses; Faust's services log their comings and goings under the modules of our subclasses."""


class TextFormatter(logging.Formatter):
    """A line for people: time, level, event, and its particulars as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        words = [stamp, record.levelname.lower(), record.getMessage()]
        words += [f"{name}={value}" for name, value in particulars(record).items()]
        text = " ".join(words)
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "at_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **particulars(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


def particulars(record: logging.LogRecord) -> dict[str, object]:
    """Return what an event was logged with besides its name."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def set_up_logging(*, level: str, form: str) -> None:
    """Write events of `level` and above to standard error, as `text` or `json`; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
