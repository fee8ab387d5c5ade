"""The domain's own `replace` does what that of the standard library does."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.domain.interactions import Interaction
from interaction_router.domain.rows import Conversation
from interaction_router.domain.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class One:
    only: int


@dataclass(frozen=True, slots=True)
class Noted:
    first: int
    second: str = "b"
    note: object = dataclasses.field(init=False, compare=False, default=None)


@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(Conversation)]), st.integers()))
def test_it_is_that_of_the_standard_library(changes: dict[str, int]) -> None:
    plain = Conversation(*range(len(dataclasses.fields(Conversation))))  # told apart by number
    expected = dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
    assert replace(plain, **changes) == expected  # type: ignore[arg-type]


def test_one_field_and_what_is_noted_beside() -> None:
    assert replace(One(1), only=2) == One(2)
    before = Noted(1)
    before.note = "made from 1"  # type: ignore[misc]  # frozen to the type checker alone
    after = replace(before, first=2)
    assert (after, after.note) == (Noted(2), None)
    assert before == Noted(1)


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        replace(One(1), other=2)  # type: ignore[call-arg]


def test_the_memo_of_an_interaction_is_of_that_one_alone() -> None:
    assert "written" not in {field.name for field in dataclasses.fields(Interaction) if field.init}
