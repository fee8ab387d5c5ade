"""The kinds of values that settings have: how each is written, what is allowed, what may be shown of it."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, Secret, StringConstraints

from interaction_router.domain.names import TENANT_PATTERN

ISO_8601_DURATION = re.compile(
    r"P(?!$)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?!$)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
)
SECONDS = re.compile(r"-?\d+(?:\.\d+)?")
HIGHEST_PORT = 65_535
SCHEMES = frozenset({"tel", "mailto", "sip", "sips", "wa"})
REDIS_OPTIONS = frozenset({"db", "username", "password"})
"""What may stand behind the `?` of a URL: redis-py takes more, and ends with an error of its own where it is wrong."""
SECONDS_A_MINUTE = 60
SECONDS_AN_HOUR = 3_600
SECONDS_A_UNIT = {"weeks": 604_800, "days": 86_400, "hours": SECONDS_AN_HOUR, "minutes": SECONDS_A_MINUTE, "seconds": 1}
"""By the names of `ISO_8601_DURATION`."""


@dataclass(frozen=True, slots=True)
class Key:
    """Says what the keys of a table stand for, as in `tenants.<tenant>`."""

    word: str


def parse_duration(value: object) -> timedelta:
    """Return the span that a number of seconds (600, "600") or an ISO 8601 duration ("PT10M") means.

    Years and months, which have no fixed length, are none.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        text = value.strip().upper()
        if SECONDS.fullmatch(text):
            return _span(float(text))
        if found := ISO_8601_DURATION.fullmatch(text):
            amounts = {unit: float(amount) for unit, amount in found.groupdict(default="0").items()}
            return _span(sum(SECONDS_A_UNIT[unit] * amount for unit, amount in amounts.items()))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return _span(value)
    raise ValueError("must be seconds (600) or an ISO 8601 duration without months (PT10M)")


def _span(seconds: float) -> timedelta:
    """Return a span that arithmetic with times of day can bear."""
    limit = timedelta(days=36_525)
    if not abs(seconds) <= limit.total_seconds():
        raise ValueError("must be at most a hundred years")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """Return the ISO 8601 form: `P7D`, `PT10M`, `PT0.5S`."""
    seconds = span.seconds + span.microseconds / 1_000_000
    hours, seconds = divmod(seconds, SECONDS_AN_HOUR)
    minutes, seconds = divmod(seconds, SECONDS_A_MINUTE)
    clock = "".join(f"{amount:g}{unit}" for amount, unit in ((hours, "H"), (minutes, "M")) if amount)
    clock += f"{round(seconds, 6):.6f}".rstrip("0").rstrip(".") + "S" if seconds else ""
    days = f"{span.days}D" if span.days else ""
    return "P" + days + (f"T{clock}" if clock else "") if days or clock else "PT0S"


def _optional_duration(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "off" else value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be more than 0 seconds")
    return value


def _whole(value: object) -> object:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports a ValueError as a fault of the value
    return value


def distinct(value: object) -> object:
    """Refuse a list that has an item twice."""
    if isinstance(value, list | tuple):
        twice = sorted({str(item) for index, item in enumerate(value) if item in value[:index]})
        if twice:
            raise ValueError(f"must not repeat an item ({', '.join(twice)})")
    return value


def _region(value: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - its tables are read only where a region is set

    region = value.strip().upper()
    if region not in SUPPORTED_REGIONS:
        advice = " (the United Kingdom is GB)" if region == "UK" else ""
        raise ValueError(f"must be a country with phone numbers, in ISO 3166-1 alpha-2, as ZA{advice}")
    return region


def _channel(value: str) -> str:
    """Refuse what no endpoint can begin with, `<channel>:<opaque>`, without being taken for another's."""
    if value in SCHEMES:
        raise ValueError(f"must not be {', '.join(sorted(SCHEMES))}: addresses of other channels begin so")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error:
        raise ValueError(r"must be a regular expression, as \d{3}") from None
    return value


def _bootstrap_servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        host, separator, port = server.rpartition(":")
        in_brackets = host.startswith("[") and host.endswith("]")
        well_formed = host and separator and _is_number(port) and 0 < int(port) <= HIGHEST_PORT
        if not well_formed or "/" in host or "@" in host or (":" in host and not in_brackets):
            raise ValueError("must be host:port, several with commas, as kafka-1:9092,kafka-2:9092")
    return ",".join(servers)


def _http_url(value: str) -> str:
    parts = _split(value)
    bare = parts is not None and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts is None or not bare or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// address without user, query and fragment")
    return value.rstrip("/")


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None where it has none or a port that cannot be."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return None
    return parts


class ServerUrl(Secret[str]):
    """A server's URL that may hold a password: what is shown of it has none."""

    def _display(self) -> str:
        parts = _split(self.get_secret_value())
        if parts is None:
            return "***"
        host = parts.netloc.rpartition("@")[2]
        user = "***@" if "@" in parts.netloc else ""
        return urlunsplit((parts.scheme, user + host, parts.path, "***" if parts.query else "", ""))

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL, the password among them."""
        return urlsplit(self.get_secret_value())


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _redis_url(value: ServerUrl) -> ServerUrl:
    parts = _split(value.get_secret_value())
    if parts is None or parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must be redis://host:port/db, rediss:// for TLS, or unix:///path")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= REDIS_OPTIONS or not _is_number(options.get("db", "0")):
        raise ValueError("must have nothing behind ? but db (a number), username and password")
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ValueError("must name the socket, as unix:///run/redis.sock")
        return value
    database = parts.path.strip("/")
    if not parts.hostname or (database and not _is_number(database)):
        raise ValueError("must be redis://host:port/db with a host, and a number for db")
    return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
OptionalDuration: TypeAlias = Annotated[
    Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_positive)] | None,
    BeforeValidator(_optional_duration),
]
Count: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Port: TypeAlias = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=HIGHEST_PORT)]
Namespace: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
Channel: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$"), AfterValidator(_channel)]
Tenant: TypeAlias = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]
Address: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512)]
AgentId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Pattern: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_pattern)]
Domain: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^\s@.]+(\.[^\s@.]+)*$", max_length=253, to_lower=True)]
Region: TypeAlias = Annotated[str, AfterValidator(_region)]
BootstrapServers: TypeAlias = Annotated[str, AfterValidator(_bootstrap_servers)]
RedisUrl: TypeAlias = Annotated[ServerUrl, AfterValidator(_redis_url)]
PublicUrl: TypeAlias = Annotated[str, AfterValidator(_http_url)]
