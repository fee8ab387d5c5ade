"""Comparing updates of the model with updates of the program, conversation by conversation.

Between conversations the contract promises no order, and the model's numbers mean nothing
outside it: so a conversation is named by the interaction that opened it, which is in no other,
and two sides agree when each conversation has the same sequence on both.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING

from tests.model.promises import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.model.updates import ConversationRef, InteractionKey, Update

_REFERENCES = ("conversation", "previous", "into")


def differences(
    expected: Sequence[Update],
    actual: Sequence[Update],
    *,
    ignoring: frozenset[str] = frozenset(),
) -> list[str]:
    """Tell where two sets of updates differ; an empty list: they say the same.

    `ignoring` names fields of `Update` that are not compared, such as `at_ms`. An actual
    conversation may be named by any string; parties must be canonical as in the model.
    """
    return Comparison().differences(expected, actual, ignoring=ignoring)


class Comparison:
    """Compares updates part by part, such as step by step; what a conversation is called is kept from part to part."""

    def __init__(self) -> None:
        self._expected: dict[ConversationRef, InteractionKey] = {}
        self._actual: dict[ConversationRef, InteractionKey] = {}

    def differences(
        self, expected: Sequence[Update], actual: Sequence[Update], *, ignoring: frozenset[str] = frozenset()
    ) -> list[str]:
        """Tell where the next updates of the two sides differ."""
        _name(expected, self._expected)
        _name(actual, self._actual)
        sequences_expected = _sequences(expected, self._expected, ignoring)
        sequences_actual = _sequences(actual, self._actual, ignoring)
        found = _differences_of_contacts(expected, actual, ignoring)
        for name in dict.fromkeys([*sequences_expected, *sequences_actual]):
            ours, theirs = sequences_expected.get(name, []), sequences_actual.get(name, [])
            found.extend(_differences_of_one(name, ours, theirs))
        return found


def _name(updates: Iterable[Update], names: dict[ConversationRef, InteractionKey]) -> None:
    """Name each conversation by the first interaction that was added to it."""
    for update in updates:
        if update.type == "conversation.interaction_added" and update.conversation is not None:
            assert update.interaction is not None
            names.setdefault(update.conversation, key_of(update.tenant, update.interaction))


def _comparable(
    update: Update,
    names: Mapping[ConversationRef, InteractionKey],
    ignoring: frozenset[str],
) -> dict[str, object]:
    said: dict[str, object] = {each.name: getattr(update, each.name) for each in fields(update)}
    for reference in _REFERENCES:
        ref: ConversationRef | None = getattr(update, reference)
        said[reference] = None if ref is None else names.get(ref, ref)
    return {name: value for name, value in said.items() if name not in ignoring}


def _sequences(
    updates: Iterable[Update],
    names: Mapping[ConversationRef, InteractionKey],
    ignoring: frozenset[str],
) -> dict[InteractionKey | ConversationRef, list[dict[str, object]]]:
    sequences: dict[InteractionKey | ConversationRef, list[dict[str, object]]] = {}
    for update in updates:
        if update.conversation is not None:
            name = names.get(update.conversation, update.conversation)
            sequences.setdefault(name, []).append(_comparable(update, names, ignoring))
    return sequences


def _differences_of_one(
    name: InteractionKey | ConversationRef,
    ours: Sequence[dict[str, object]],
    theirs: Sequence[dict[str, object]],
) -> list[str]:
    for place, (expected, actual) in enumerate(zip(ours, theirs, strict=False), start=1):
        fields = [key for key in expected if expected[key] != actual[key]]
        if fields:
            told = "; ".join(f"{key}: {expected[key]!r}, not {actual[key]!r}" for key in fields)
            return [f"{name} at {place} of {expected['type']}: expected {told}"]
    if len(ours) != len(theirs):
        missing = [each["type"] for each in ours[len(theirs) :]]
        extra = [each["type"] for each in theirs[len(ours) :]]
        return [f"{name}: missing {missing}, too many {extra}"]
    return []


def _differences_of_contacts(
    expected: Sequence[Update], actual: Sequence[Update], ignoring: frozenset[str]
) -> list[str]:
    ours, theirs = (
        Counter(repr(sorted(_comparable(each, {}, ignoring).items())) for each in updates if each.conversation is None)
        for updates in (expected, actual)
    )
    missing = [f"missing: {each}" for each in (ours - theirs).elements()]
    return missing + [f"too many: {each}" for each in (theirs - ours).elements()]
