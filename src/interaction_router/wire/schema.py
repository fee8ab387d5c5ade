"""The kinds of fields that records from outside have, and how a record that breaks their rules is refused."""

from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from interaction_router.domain.errors import RejectedError
from interaction_router.domain.names import TENANT_PATTERN, TENANT_RULE
from interaction_router.wire.strict_json import JsonObject
from interaction_router.wire.times import read_time

_NO_CONTROL_CHARACTERS: Final = r"^\P{Cc}*$"
_REGION: Final = r"^(?:[A-Za-z]{2})?$"
TEXT_LIMIT: Final = 512
TIME_RULE: Final = "has to be an RFC 3339 time with an offset, from 1970 to 9999"

Text = Annotated[str, StringConstraints(strict=True)]
Tenant = Annotated[str, StringConstraints(strict=True, pattern=TENANT_PATTERN)]
Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=TEXT_LIMIT, pattern=_NO_CONTROL_CHARACTERS)]
IdOrNone = Annotated[str, StringConstraints(strict=True, max_length=TEXT_LIMIT, pattern=_NO_CONTROL_CHARACTERS)] | None
Address = Annotated[str, StringConstraints(strict=True, max_length=TEXT_LIMIT, pattern=_NO_CONTROL_CHARACTERS)]
Region = Annotated[str, StringConstraints(strict=True, pattern=_REGION)]
Flag = Annotated[bool, Field(strict=True)]
Size = Annotated[int, Field(strict=True, ge=0)]
Span = Annotated[float, Field(strict=True, ge=0)]


class Record(BaseModel):
    """Anything from outside: what is not named here is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Envelope(Record):
    """What tells records of one topic apart."""

    tenant: Tenant
    type: Text


_Model = TypeVar("_Model", bound=Record)

_MISMATCHES: Final = frozenset(
    {"string_type", "model_type", "model_attributes_type", "dict_type", "list_type", "none_required"}
)
_RULES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "string_type": "has to be a string",
    "string_too_short": "must not be empty",
    "string_too_long": "has to be at most {max_length} characters",
    "too_long": "has to be at most {max_length} items",
    "literal_error": "has to be {expected}",
    "int_type": "has to be a whole number",
    "float_type": "has to be a number",
    "greater_than_equal": "has to be at least {ge}",
    "bool_type": "has to be true or false",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "dict_type": "has to be an object",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
}
_RULES_OF_PATTERNS: Final[Mapping[str, str]] = {
    _NO_CONTROL_CHARACTERS: "must not hold control characters",
    TENANT_PATTERN: TENANT_RULE,
    _REGION: "has to be an ISO 3166-1 alpha-2 code",
}
_ADDRESS_FIELDS: Final = frozenset({"from", "to"})
_FREE_KEYS: Final = frozenset({"metadata"})


def validated(model: type[_Model], fields: JsonObject) -> _Model:
    """Return the object as the model has it.

    Raises:
        RejectedError: `schema_invalid`, with the field and the rule, never the value.
    """
    try:
        # What `model_validate` calls, once it has looked through its options.
        valid: _Model = model.__pydantic_validator__.validate_python(fields)
    except ValidationError as error:
        raise _rejection(error) from None
    return valid


def invalid(field: str, rule: str) -> RejectedError:
    """Return the rejection of a record whose `field` breaks `rule`."""
    return RejectedError("schema_invalid", rule, field=field)


def check_time(field: str, text: str | None) -> None:
    """Refuse a time that nobody decides by but that is none: whoever reads it later relies on it.

    Raises:
        RejectedError: `schema_invalid`.
    """
    if text is not None and read_time(text) is None:
        raise invalid(field, TIME_RULE)


def _rejection(error: ValidationError) -> RejectedError:
    """Tell the first field at fault; of a union's members, the one that the value came closest to."""
    errors = error.errors(include_url=False, include_input=False)
    first = [each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]]
    told = max(first, key=lambda each: (each["type"] not in _MISMATCHES, len(each["loc"])))
    return invalid(_path(told), _rule(told))


def _path(error: ErrorDetails) -> str:
    """Return the dotted path, without the names of models and without keys that somebody else chose."""
    path: list[str] = []
    for part in error["loc"]:
        if isinstance(part, int) or (part.isidentifier() and part.islower() and part not in {"str", "float"}):
            path.append(str(part))
        if part in _FREE_KEYS:
            break
    return ".".join(path)


def _rule(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _MISMATCHES and error["loc"][0] in _ADDRESS_FIELDS and "name" not in error["loc"]:
        return "has to be an address: a string, an object with `address`, or null"
    if kind == "string_pattern_mismatch":
        return _RULES_OF_PATTERNS.get(context["pattern"], "is not valid")
    return _RULES.get(kind, "is not valid").format_map(context)
