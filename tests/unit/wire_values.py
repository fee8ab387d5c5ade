"""Any value of a domain type, for properties over all of them."""

import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any

from hypothesis import strategies as st

from interaction_router.domain.interactions import Interaction, Json

TEXT = st.text(max_size=12)
WHOLE = st.integers(-(2**63), 2**63 - 1)
_NEAR_TIME_MS = st.integers(0, 253_402_300_799_999)

JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
_ADDRESS = st.none() | TEXT | st.fixed_dictionaries({"address": TEXT, "name": TEXT})

INTERACTIONS = st.builds(
    Interaction,
    interaction_id=TEXT,
    channel=TEXT,
    direction=st.sampled_from(["inbound", "outbound"]),
    status=st.sampled_from(["ringing", "ended", "delivered"]),
    occurred_at_ms=_NEAR_TIME_MS,
    sender=_ADDRESS,
    recipients=st.lists(_ADDRESS, max_size=3).map(tuple),
    agent_id=st.none() | TEXT,
    flags=st.lists(st.sampled_from(["address_opaque", "clock_ahead"]), max_size=2).map(tuple),
    details=st.fixed_dictionaries(
        {},
        optional={"text": TEXT, "subject": TEXT, "duration_s": WHOLE, "auto_response": st.booleans(), "extra": JSON},
    ).map(lambda details: {name: value for name, value in details.items() if value is not None}),
)


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:  # Any: a type as typing spells it, and its values
    """Return a strategy of all values of a type; NaN and the like are in none of ours."""
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        int: WHOLE,
        bool: st.booleans(),
        bytes: st.binary(max_size=12),
        NoneType: st.none(),
        Interaction: INTERACTIONS,
    }
    if kind in plain:
        return plain[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, UnionType}:
        return st.one_of(*(values(each) for each in arguments))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(each) for each in arguments))
    if origin is Mapping or origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if dataclasses.is_dataclass(kind) or issubclass(kind, tuple):
        given = (
            {each.name for each in dataclasses.fields(kind) if each.init} if dataclasses.is_dataclass(kind) else None
        )
        hints = typing.get_type_hints(kind).items()
        return st.builds(kind, **{name: values(each) for name, each in hints if given is None or name in given})
    raise TypeError(kind)
