"""`decide` against the independent, deliberately naive model of the contract's rules."""

import os

from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from tests.model.bench import PHONE, Bench
from tests.model.compare import Comparison
from tests.model.naive import NaiveRouter
from tests.model.promises import check_promises
from tests.model.state import HOUR_MS
from tests.model.steps import CloseConversation, LinkConversation, Timed, UnlinkConversation
from tests.model.strategies import POLICY, histories
from tests.model.updates import Recorded
from tests.unit.against_model import Driver

EXAMPLES = 2000 if os.environ.get("CI") else 100


def two_closed_by_one_tick() -> list[Timed]:
    """Linked by two saves, the one opened last first: nothing but the saves puts them in an order."""
    bench, other = Bench(policy=POLICY), "tel:+27821234568"
    bench.event("a", endpoint=other)
    bench.event("b")
    bench.wait(HOUR_MS)
    bench.tick()
    bench.save("c1", PHONE)
    bench.save("c1", other)
    bench.wait(HOUR_MS)
    bench.event("c", endpoint=other)
    return [each.timed for each in bench.history]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@example(two_closed_by_one_tick(), 0)
@given(histories(), st.integers(0, 2**32))
def test_decide_says_what_the_model_says(history: list[Timed], seed: int) -> None:
    """Each step, one after the other, whatever the hints of intake are."""
    model, driver = NaiveRouter(policy=POLICY), Driver(POLICY, seed=seed)
    comparison = Comparison()
    recorded = []
    for drawn in history:
        step = drawn.step
        if isinstance(step, CloseConversation | LinkConversation | UnlinkConversation):
            step = model.aim(step)
        timed = Timed(step=step, at_ms=drawn.at_ms)
        wanted, got = model.step(step, at_ms=timed.at_ms), driver.step(timed)
        note(f"{timed}\n    model {wanted}\n    got   {got}")
        assert got.refusal == wanted.refusal
        assert comparison.differences(wanted.updates, got.updates) == []
        recorded.append(Recorded(timed=timed, result=got))
    assert check_promises(recorded) == []
