"""Events in any order and with anything in them: records that intake takes, of one party a call."""

from collections.abc import Mapping
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.freeswitch import FreeSwitch
from tests.unit.channels import switches as sw
from tests.unit.channels.switches import AT_MS
from tests.unit.channels.test_switches import LINE, checked
from tests.unit.fuzzing import fuzzed, within

_AMI = list(chain(sw.INBOUND, sw.OUTBOUND, sw.CLICK_TO_CALL, sw.BLIND_TRANSFER, sw.ATTENDED_TRANSFER))
_ESL = list(chain(sw.ESL_INBOUND, sw.ESL_OUTBOUND, sw.ESL_CLICK_TO_CALL, sw.ESL_ATTENDED_TRANSFER))
_NAMES = sorted(
    {name for event in (*_AMI, *_ESL) for name in event} | {"timestamp", "event-date-timestamp", "duration"}
)
_VALUES = st.sampled_from(sorted({value for event in (*_AMI, *_ESL) for value in event.values()})) | st.text(max_size=9)
_ROW = ["uuid", "direction", "call_uuid", "cid_num", "dest", "callstate", "created_epoch"]
_MOST_S = 2.0


def _mutated(events: list[Mapping[str, str]]) -> st.SearchStrategy[list[Mapping[str, str]]]:
    """Some of the events, in any order, with some of their fields changed."""
    changes = st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=3)
    return st.lists(st.builds(lambda event, by: {**event, **by}, st.sampled_from(events), changes), max_size=30)


@fuzzed
@given(events=_mutated(_AMI), rows=_mutated(_AMI))
def test_any_events_of_asterisk(events: list[Mapping[str, str]], rows: list[Mapping[str, str]]) -> None:
    machine = Asterisk(LINE)
    with within(_MOST_S):
        told = [fields for event in events for fields in machine.take(event, AT_MS)]
        machine.begin_resume()
        told += [fields for event in events[:5] for fields in machine.take(event, AT_MS)]
        told += machine.end_resume(rows, AT_MS)
    checked_by_life(told)


@fuzzed
@given(events=_mutated(_ESL), rows=st.lists(st.dictionaries(st.sampled_from(_ROW), _VALUES)))
def test_any_events_of_freeswitch(events: list[Mapping[str, str]], rows: list[Mapping[str, str]]) -> None:
    machine = FreeSwitch(LINE)
    with within(_MOST_S):
        told = [fields for event in events for fields in machine.take(event, AT_MS)]
        machine.begin_resume()
        told += machine.end_resume(rows, AT_MS)
    checked_by_life(told)


def checked_by_life(told: list[dict[str, object]]) -> None:
    """Check each life of a call by itself: a switch may give an id again, and then it is another call."""
    lives: dict[object, list[dict[str, object]]] = {}
    for fields in told:
        life = lives.setdefault(fields["interaction_id"], [])
        if fields["status"] == "ringing":
            life.clear()
        life.append(fields)
        checked(life)
