"""What is explored between homes: few contacts, few addresses, and what must not disturb them."""

from tests.protocol.scripts import ByHand, Delete, Erase, Merge, Save, Scenario, Script, Told

C1, C1_FREE, C1_BOTH = Save("c1", ("e1",)), Save("c1", ()), Save("c1", ("e1", "e2"))
C2, C2_FREE, C2_OTHER = Save("c2", ("e1",)), Save("c2", ()), Save("c2", ("e2",))
C3_FREE, C3_OTHER = Save("c3", ()), Save("c3", ("e2",))
RINGS, ENDS, OTHER = Told("i"), Told("i", status="ended"), Told("j")
CALL: Script = (RINGS, ENDS)
ON_BOTH: Script = (RINGS, Told("j", "e2"))


def _at_once(
    name: str,
    *scripts: Script,
    first: Script = (),
    crashes: int = 0,
    e1: str | None = None,
    e2: str | None = None,
) -> Scenario:
    owners = {name: owner for name, owner in (("e1", e1), ("e2", e2)) if owner is not None}
    return Scenario(name, (dict(zip("ABCD", scripts, strict=False)),), first, crashes, owners)


SAVES = (
    _at_once("a save, a call and another", [C1], [RINGS, ENDS, OTHER]),
    _at_once("a save, two calls, an intake dies", [C1], [RINGS, OTHER], crashes=1),
    _at_once("saved; let go, two calls, an intake dies", [C1_FREE], [RINGS, OTHER], first=[C1], crashes=1),
    _at_once("saved, let go; a call", [C1, C1_FREE], CALL),
    _at_once("saved, let go, saved; calls", [C1, C1_FREE, C1], [RINGS, ENDS, OTHER]),
    _at_once("saved; let go, saved; a call", [C1_FREE, C1], CALL, first=[C1]),
    _at_once("saved, deleted; a call", [C1, Delete("c1")], CALL),
    _at_once("saved, deleted, saved; calls", [C1, Delete("c1"), C1], [RINGS, ENDS, OTHER]),
    _at_once("saved, erased; a call", [C1, Erase("c1")], CALL),
    _at_once("saved, erased, saved; calls", [C1, Erase("c1"), C1], CALL),
    _at_once(
        "saved, deleted, erased; a call, an intake dies",
        [C1, Delete("c1", True)],
        [RINGS],
        [Erase("c1", True)],
        crashes=1,
    ),
    _at_once("a call beside; saved, erased", [C1], [RINGS], [Erase("c1", True)], [ENDS]),
    _at_once("saved, deleted, an intake dies twice", [C1, Delete("c1")], [RINGS], crashes=2),
    _at_once("the same call by two gateways; saved", [C1], CALL, [RINGS]),
)

TWO_CLAIM = (
    _at_once("two save the same, one lets go", [C1, C1_FREE], [C2], CALL),
    _at_once("two save the same, let go, save", [C1, C1_FREE, C1], [C2, C2_FREE], [RINGS]),
    _at_once("the owner changes; a call", [C1_FREE], [C2], CALL, first=[C1]),
    _at_once("the owner changes and changes back", [C1_FREE, C1], [C2, C2_FREE], [RINGS, ENDS], first=[C1]),
    _at_once("both save, one is deleted, an intake dies", [C1, C1_FREE], [C2, Delete("c2")], [RINGS], crashes=1),
    _at_once("both save, one is erased", [C1], [C2, Erase("c2")], CALL),
)

TWO_ADDRESSES = (
    _at_once("two addresses saved; a call on each", [C1_BOTH], ON_BOTH),
    _at_once("two addresses with calls saved; another call", [C1_BOTH], [OTHER], first=[RINGS, Told("k", "e2")]),
    _at_once("one address let go, one kept", [C1_BOTH, C1], ON_BOTH),
    _at_once("one of two is another's", [C1_BOTH], [RINGS, Told("j", "e2")], first=[C2_OTHER]),
    _at_once("two addresses, saved by two", [C1_BOTH], [C2_OTHER, Delete("c2")], [Told("j", "e2")]),
    _at_once("two addresses, erased; calls", [C1_BOTH, Erase("c1")], ON_BOTH),
    _at_once("calls on both; saved, deleted", [C1_BOTH, Delete("c1")], [ENDS], first=[RINGS, Told("j", "e2")]),
)

MERGES = (
    _at_once("a merge; a call", [Merge("c1", "c2")], CALL, first=[C1, C2_FREE], e1="c2"),
    _at_once(
        "a merge of two with open calls",
        [Merge("c1", "c2")],
        [ENDS, Told("k", "e2")],
        first=[C1, C2_OTHER, RINGS, Told("j", "e2")],
    ),
    _at_once("a merge right behind the saves", [C2_FREE, C1, Merge("c1", "c2")], CALL, e1="c2"),
    _at_once("a merge; the survivor lets go", [Merge("c1", "c2")], [C2_FREE], CALL, first=[C1, C2_FREE]),
    _at_once(
        "a merge; the survivor saves and is deleted",
        [Merge("c1", "c2", True)],
        [C2, Delete("c2")],
        [RINGS],
        first=[C1, C2_FREE],
    ),
    _at_once("a merge; the survivor is erased", [Merge("c1", "c2", True)], [Erase("c2")], CALL, first=[C1, C2_FREE]),
    _at_once(
        "a merge; the survivor of two open calls is erased",
        [Merge("c1", "c2", True)],
        [Erase("c2")],
        [ENDS],
        first=[C1, C2_OTHER, RINGS, Told("j", "e2")],
    ),
    _at_once("a merge; the merged-away is erased", [Merge("c1", "c2", True)], [Erase("c1")], CALL, first=[C1, C2_FREE]),
    _at_once(
        "a merge; the merged-away is deleted",
        [Merge("c1", "c2", True)],
        [Delete("c1", True)],
        CALL,
        first=[C1, C2_FREE],
    ),
    _at_once(
        "a merge; both are erased", [Merge("c1", "c2", True)], [Erase("c2")], [Erase("c1")], first=[C1, C2_FREE, RINGS]
    ),
    _at_once(
        "a merge; a save under the alias",
        [Merge("c1", "c2"), C1_BOTH],
        ON_BOTH,
        first=[C1, C2_FREE],
        e1="c2",
        e2="c2",
    ),
    _at_once(
        "a merge; the survivor is deleted, and saved",
        [Merge("c1", "c2", True)],
        [Delete("c2"), C2_OTHER],
        [RINGS],
        first=[C1, C2_FREE],
    ),
    _at_once(
        "a merge; deleted; both are saved", [Merge("c1", "c2", True)], [Delete("c2"), C2], [C1], first=[C1, C2_FREE]
    ),
    _at_once("merged round", [Merge("c1", "c2", True)], [Merge("c2", "c1", True)], CALL, first=[C1, C2_FREE]),
    _at_once(
        "a chain of merges; a call", [Merge("c1", "c2"), Merge("c2", "c3")], CALL, first=[C1, C2_FREE, C3_FREE], e1="c3"
    ),
    _at_once(
        "a chain of merges from the end; a call",
        [Merge("c2", "c3"), Merge("c1", "c2")],
        CALL,
        first=[C1, C2_FREE, C3_FREE],
        e1="c3",
    ),
    _at_once(
        "two chains meet; a call",
        [Merge("c1", "c2")],
        [Merge("c2", "c3")],
        [RINGS],
        first=[C1, C2_FREE, C3_FREE],
        e1="c3",
    ),
    _at_once(
        "a chain of merges; the last is deleted",
        [Merge("c1", "c2", True), Merge("c2", "c3", True)],
        [Delete("c3")],
        [ENDS],
        first=[C1, C2_FREE, C3_FREE, RINGS],
    ),
    _at_once(
        "a chain of merges; the last is erased",
        [Merge("c1", "c2", True), Merge("c2", "c3", True)],
        [Erase("c3")],
        first=[C1, C2_FREE, C3_FREE, RINGS],
    ),
    _at_once(
        "a circle of three",
        [Merge("c1", "c2", True)],
        [Merge("c2", "c3", True)],
        [Merge("c3", "c1", True)],
        first=[C1, C2_FREE, C3_FREE],
    ),
    _at_once("a merge, an intake dies", [Merge("c1", "c2")], [RINGS], first=[C1, C2_FREE], crashes=1),
    _at_once(
        "a merge between saves, an intake dies",
        [C1, Merge("c1", "c2"), Save("c1", ("e2",))],
        first=[C2_FREE, RINGS],
        crashes=1,
    ),
    _at_once(
        "merged, the survivor erased; the former alias saved",
        [Erase("c2"), C1],
        CALL,
        first=[C1, RINGS, C2_FREE, Merge("c1", "c2")],
    ),
    _at_once(
        "an unlinked call goes through an alias", [C1, Merge("c1", "c2")], [ENDS], first=[C1, C1_FREE, RINGS, C2_FREE]
    ),
    _at_once(
        "a merge of two with an address each, one erased",
        [Merge("c1", "c2", True)],
        [Erase("c2")],
        [Told("j", "e2")],
        first=[C1, C2_OTHER],
    ),
    _at_once(
        "two chains meet; a later event",
        [Merge("c1", "c2")],
        [Merge("c2", "c3")],
        [ENDS],
        first=[C1, C2_FREE, C3_FREE, RINGS],
        e1="c3",
    ),
    _at_once(
        "merged with two open calls; the survivor deleted, the other erased",
        [Delete("c2", True)],
        [Erase("c1")],
        first=[C1, C2_OTHER, Told("j", "e2"), RINGS, Merge("c1", "c2")],
    ),
)

NOBODY = "c9"
"""A contact that was never saved."""

REFUSED_MERGES = (
    _at_once(
        "a merge behind one into nobody; a call",
        [Merge("c1", NOBODY, True), Merge("c1", "c2")],
        [RINGS],
        first=[C1, C2_FREE],
        e1="c2",
    ),
    _at_once(
        "two merges of nobody; a call",
        [Merge(NOBODY, "c1", True), Merge(NOBODY, "c2", True)],
        [RINGS],
        first=[C1, C2_FREE],
        e1="c1",
    ),
    _at_once(
        "a merge into nobody, who is merged; a call",
        [Merge("c1", NOBODY, True)],
        [Merge(NOBODY, "c2", True)],
        [RINGS],
        first=[C1, C2_FREE],
        e1="c1",
    ),
    _at_once(
        "three merges, the first into nobody",
        [Merge("c1", NOBODY, True), Merge("c1", "c2"), Merge("c1", "c3")],
        first=[C1, C2_FREE, C3_FREE],
        e1="c3",
    ),
    _at_once(
        "a merge behind one into nobody, and one into both",
        [Merge("c1", NOBODY, True), Merge("c1", "c2")],
        [Merge("c3", "c1")],
        first=[C1, C2_FREE, C3_OTHER],
        e1="c2",
        e2="c2",
    ),
    _at_once(
        "four merges, two of them refused",
        [Merge("c1", NOBODY, True), Merge(NOBODY, "c3", True), Merge("c1", "c2"), Merge("c2", "c3")],
        first=[C1, C2_FREE, C3_FREE],
        e1="c3",
    ),
    _at_once(
        "merged round behind merges into nobody; a call",
        [Merge("c1", NOBODY, True), Merge("c1", "c2", True)],
        [Merge("c2", NOBODY, True), Merge("c2", "c1", True)],
        [RINGS],
        first=[C1, C2_FREE],
    ),
    _at_once(
        "merges behind one that stands",
        [Merge("c1", "c2"), Merge("c1", "c3"), Merge("c1", "c4")],
        first=[C1, C2_FREE, C3_FREE, Save("c4", ())],
        e1="c4",
    ),
    _at_once(
        "merges into nobody and back, an intake dies",
        [Merge("c1", NOBODY, True), Merge(NOBODY, "c1", True), Merge("c1", "c2")],
        first=[C1, C2_FREE],
        crashes=1,
        e1="c2",
    ),
    _at_once(
        "a merge behind one into who is deleted; a call",
        [Merge("c1", "c2", True), Merge("c1", "c3", True)],
        [Delete("c2", True)],
        first=[C1, C2_FREE, C3_FREE],
    ),
)

BY_HAND = (
    _at_once("closed by hand, saved; a call", [C1], [ByHand("close", "i")], [OTHER], first=[RINGS]),
    _at_once("closed by hand, merged away", [C1, Merge("c1", "c2")], [ByHand("close", "i")], first=[C2_FREE, RINGS]),
    _at_once(
        "closed by hand, merged away; a later event",
        [C1, Merge("c1", "c2")],
        [ByHand("close", "i")],
        [ENDS],
        first=[C2_FREE, RINGS],
    ),
    _at_once(
        "a contact's closed by hand beside a merge",
        [Merge("c1", "c2")],
        [ByHand("close", "i", "e1"), RINGS],
        first=[RINGS, C1, C2_FREE],
    ),
    _at_once("linked by hand, saved", [C2], [ByHand("link", "i", contact="c1")], [ENDS], first=[C1_FREE, RINGS]),
    _at_once(
        "linked by hand, merged away",
        [Merge("c1", "c2")],
        [ByHand("link", "i", contact="c1")],
        [ENDS],
        first=[C1_FREE, C2_FREE, RINGS],
    ),
    _at_once(
        "linked and unlinked by hand, saved",
        [C2],
        [ByHand("link", "i", contact="c1"), ByHand("unlink", "i")],
        first=[C1_FREE, RINGS],
    ),
    _at_once(
        "linked by hand; unlinked, merged, closed",
        [Merge("c1", "c2")],
        [ByHand("unlink", "i"), ByHand("close", "i")],
        first=[C1_FREE, C2_FREE, RINGS, ByHand("link", "i", contact="c1")],
    ),
    _at_once(
        "linked by hand; unlinked and erased",
        [Erase("c1")],
        [ByHand("unlink", "i")],
        [ENDS],
        first=[C1_FREE, RINGS, ByHand("link", "i", contact="c1")],
    ),
    _at_once(
        "linked by hand; deleted", [Delete("c1")], [ByHand("link", "i", contact="c1")], [ENDS], first=[C1_FREE, RINGS]
    ),
    _at_once(
        "linked to two, an intake dies",
        [ByHand("link", "i", contact="c1"), ByHand("link", "i", contact="c2")],
        first=[C1_FREE, C2_FREE, RINGS],
        crashes=1,
    ),
    _at_once(
        "linked, unlinked while saved and let go",
        [C2, C2_FREE],
        [ByHand("unlink", "i")],
        [ENDS],
        first=[C1_FREE, RINGS, ByHand("link", "i", contact="c1")],
    ),
    _at_once(
        "linked by hand beside a save and a claim waiting",
        [C1_BOTH],
        [ByHand("link", "i", contact="c2")],
        [Told("j", "e2")],
        first=[C2_FREE, RINGS],
    ),
)

LARGE = (
    _at_once("a save of three calls", [C1], [OTHER], first=[RINGS, Told("k"), Told("l")]),
    _at_once("three calls let go and saved by another", [C1_FREE], [C2], first=[C1, RINGS, Told("k"), OTHER]),
    _at_once("a merge of two calls, one has ended", [Merge("c1", "c2")], [ENDS], first=[C1, C2_FREE, RINGS, OTHER]),
    _at_once(
        "a merge right behind the save of three calls",
        [C1, Merge("c1", "c2")],
        [ENDS],
        first=[C2_FREE, RINGS, Told("k"), OTHER],
        e1="c2",
    ),
    _at_once(
        "a chain of merges of two calls",
        [Merge("c1", "c2")],
        [Merge("c2", "c3")],
        first=[C1, C2_FREE, C3_FREE, RINGS, OTHER],
        e1="c3",
    ),
    _at_once(
        "a chain of merges of two calls; the last is deleted",
        [Merge("c1", "c2", True)],
        [Merge("c2", "c3", True)],
        [Delete("c3")],
        first=[C1, C2_FREE, C3_FREE, RINGS, OTHER],
    ),
    _at_once(
        "a chain of merges of a save of two calls; the last is erased",
        [C1, Merge("c1", "c2", True), Merge("c2", "c3", True)],
        [Erase("c3")],
        first=[C2_FREE, C3_FREE, RINGS, OTHER],
    ),
    _at_once(
        "a merge of two calls; the survivor erased, and saved",
        [Merge("c1", "c2", True)],
        [Erase("c2"), C2_OTHER],
        first=[C1, C2_FREE, RINGS, OTHER],
    ),
)
"""Where one interaction fills a record, and one conversation a step: all goes in parts."""

FAMILIES = {
    "saves": SAVES,
    "two claim": TWO_CLAIM,
    "two addresses": TWO_ADDRESSES,
    "merges": MERGES,
    "refused merges": REFUSED_MERGES,
    "by hand": BY_HAND,
    "large": LARGE,
}
