"""What the setting `failpoints` says: where a test lets the process die, hang or fail."""

from typing import Literal, NamedTuple, get_args

from interaction_router.ports import Gap

Act = Literal["die", "hang", "fail"]
_GAPS: dict[str, Gap] = {gap: gap for gap in get_args(Gap)}
_ACTS: dict[str, Act] = {act: act for act in get_args(Act)}


class Failpoint(NamedTuple):
    """What happens at the `nth` time that a gap is reached, and not again."""

    gap: Gap
    act: Act
    nth: int = 1


def parse_failpoints(text: str) -> tuple[Failpoint, ...]:
    """Return what is written as `outcomes_acknowledged=die@3;tables_applied=hang`.

    Raises:
        ValueError: a gap or an act that there is not, or a number that is none.
    """
    return tuple(_parsed(part.strip()) for part in text.split(";") if part.strip())


def checked_failpoints(text: str) -> str:
    """Return the text where it can be read; the setting's own check."""
    parse_failpoints(text)
    return text


def _parsed(text: str) -> Failpoint:
    name, _, rest = text.partition("=")
    act, at, number = rest.partition("@")
    gap, what = _GAPS.get(name.strip()), _ACTS.get(act.strip())
    if gap is None:
        message = f"names a gap that there is not: {name.strip()} (docs/metrics.md lists them)"
        raise ValueError(message)
    if what is None:
        message = f"must say die, hang or fail for {gap}"
        raise ValueError(message)
    if at and not (number.strip().isdecimal() and int(number) > 0):
        message = f"must say at what time, from 1 on, for {gap}"
        raise ValueError(message)
    return Failpoint(gap, what, int(number) if at else 1)
