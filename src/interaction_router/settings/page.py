"""Writes the reference of all settings from the model: `docs/settings.md`."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from interaction_router.settings.kinds import ServerUrl, format_duration
from interaction_router.settings.names import Leaf, dotted, leaves, variable

INTRODUCTION: Final = """\
# Settings

Written by `interaction-router config docs`; the text is in `src/interaction_router/settings/model.py`.

Each source is laid over the one before: the defaults, a TOML file (`--config FILE`, or the variable
`INTERACTION_ROUTER_CONFIG`), environment variables, flags (`--set NAME=VALUE`). `config show` prints what is in force
and where each value comes from, `config check` everything that is wrong.

| | a file | a variable | a flag |
|---|---|---|---|
| name | `[redis]` and `url` | `INTERACTION_ROUTER_REDIS__URL` | `redis.url` |
| list | `channels = ["voice", "sms"]` | JSON: `["voice", "sms"]` | JSON |
| duration | seconds (`600`) or ISO 8601 (`"PT10M"`) | the same | the same |

- Tables are parted by `.` in a name and by `__` in a variable; what stands within a variable's name is lower case in
  the setting: `INTERACTION_ROUTER_TENANTS__ACME__REGION` is `tenants.acme.region`.
- A *secret* can also be read from a file: `INTERACTION_ROUTER_REDIS__PASSWORD_FILE=/run/secrets/redis`; line breaks
  at its end are no part of it. Secrets are never shown.
- A variable with this prefix that is no setting is a fault. Those that Kubernetes makes for a service of the name
  `interaction-router` (`…_SERVICE_HOST`, `…_PORT`) are passed over.
- An empty value is a fault: leave the setting out instead.
- `<tenant>`, `<channel>`, `<vendor>` and `<key>` stand for any name.
"""


def reference_page() -> str:
    """Return the page, Markdown."""
    sections = [INTRODUCTION]
    for section, group in groupby(leaves(), key=_section):
        sections.append("\n".join([f"## {section}", "", *(line for leaf in group for line in _entry(leaf))]))
    return "\n".join(sections).rstrip() + "\n"


def _section(leaf: Leaf) -> str:
    return dotted(leaf.name[:-1]) if len(leaf.name) > 1 and not leaf.name[-1].startswith("<") else "General"


def _entry(leaf: Leaf) -> Iterator[str]:
    yield f"### `{dotted(leaf.name)}`"
    yield ""
    yield leaf.field.description or ""
    yield ""
    yield f"{_allowed(leaf)}. Default: {_default(leaf)}. `{variable(leaf.name)}`"
    yield ""


def _allowed(leaf: Leaf) -> str:
    """Return what values a setting may have, in words."""
    kind = leaf.kind
    if get_origin(kind) is Literal:
        return "One of " + ", ".join(f"`{choice}`" for choice in get_args(kind))
    words = {
        timedelta: "Duration",
        int: "Whole number",
        bool: "`true` or `false`",
        Path: "Path",
        SecretStr: "Secret",
        ServerUrl: "URL, a secret where it holds a password",
    }
    word = "List" if get_origin(kind) is tuple else words.get(kind, "Text") if isinstance(kind, type) else "Text"
    bounds = [limit for limit in _bounds(leaf.field) if limit]
    return ", ".join([word, *bounds])


def _bounds(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        for attribute, words in (("gt", "more than"), ("ge", "at least"), ("le", "at most")):
            bound = getattr(limit, attribute, None)
            if bound is not None:
                yield f"{words} {_written(bound)}"


def _default(leaf: Leaf) -> str:
    default = leaf.field.default
    if isinstance(default, type(PydanticUndefined)):
        return "none" if leaf.field.default_factory else "none, needed where its table is set"
    return _written(default)


def _written(value: object) -> str:
    match value:
        case None | () | Mapping():
            return "none"
        case timedelta():
            return f"`{format_duration(value)}`"
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
        case _:
            return f"`{value}`"
