"""Forms are read as the standard library reads them."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interaction_router.channels.bodies import pairs
from interaction_router.channels.kit import UnreadableError


@given(st.text(alphabet="ab=&+%2Bé;\ud800", max_size=40) | st.text())
@example("a=1&&b&=c&a=%ff%zz+%2B")
def test_the_fields_of_a_form(text: str) -> None:
    assert list(pairs(text)) == parse_qsl(text, keep_blank_values=True, errors="replace")


def test_a_form_with_more_fields_than_anybody_sends_is_unreadable() -> None:
    assert len(pairs("&".join(["a=1"] * 2_000))) == 2_000
    with pytest.raises(UnreadableError):
        pairs("&".join(["a=1"] * 2_001))
