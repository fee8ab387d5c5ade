"""`receive ami` on a real Asterisk with real calls: as a process, into a real broker.

No stable release of Debian has an Asterisk, so a host without one is no fault, in CI neither: these tests skip there.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import trustme

from interaction_router.wire.interactions import parse_interaction
from tests.integration.receivers import Receiver, raw_records
from tests.integration.running import Running, until
from tests.integration.telephones import OWN, SECRET, People, Telephones
from tests.servers import Broker, MissingServerError
from tests.servers.addresses import free_port
from tests.servers.proxy import Proxy

FINAL: Final = {"ended", "missed", "failed", "cancelled"}
RINGS, BUSY, CONGESTED, NOBODYS = (f"082555000{number}" for number in range(1, 5))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def telephones(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Telephones]:
    folder = tmp_path_factory.mktemp("asterisk")
    authority.issue_cert("pbx.example").private_key_and_cert_chain_pem.write_to_path(folder / "pbx.pem")
    telephones = Telephones(folder, folder / "pbx.pem")
    try:
        with telephones.running():
            yield telephones
    except MissingServerError as error:
        pytest.skip(str(error))


async def answered(people: People, customer: str) -> None:
    await people.call(f"{OWN}101", customer)
    await people.talks("101")
    await people.puts_down("101")


async def given_up(people: People, customer: str) -> None:
    await people.call(f"{OWN}201", customer)
    await people.rings("201")
    await people.gives_up(customer)


async def not_answered(people: People, customer: str) -> None:
    await people.call(f"{OWN}202", customer)


async def busy(people: People, customer: str) -> None:
    await people.call(f"{OWN}301", customer)


async def only_a_menu(people: People, customer: str) -> None:
    await people.call(f"{OWN}903", customer)


async def withheld(people: People, customer: str) -> None:
    await people.call(f"{OWN}102", customer, through="anonymous")
    await people.talks("102")
    await people.gives_up(customer)


async def queue_of_two(people: People, customer: str) -> None:
    await people.call(f"{OWN}901", customer)
    await people.talks("115")
    await people.gives_up(customer)


async def queue_behind_a_menu(people: People, customer: str) -> None:
    """The queue's member is a number of the dialplan, which is a Local channel."""
    await people.call(f"{OWN}902", customer)
    await people.talks("116")
    await people.gives_up(customer)


async def handed_on(people: People, customer: str) -> None:
    await people.call(f"{OWN}103", customer)
    await people.inside.act("BlindTransfer", Channel=await people.talks("103"), Context="phones", Exten="104")
    await people.talks("104")
    await people.gives_up(customer)


async def handed_on_by_the_phone(people: People, customer: str) -> None:
    await people.call(f"{OWN}105", customer)
    await people.talks("105")
    await people.refers("105", "106")
    await people.talks("106")
    await people.gives_up(customer)


async def handed_on_after_a_word(people: People, customer: str) -> None:
    await people.call(f"{OWN}107", customer)
    await people.inside.act("Atxfer", Channel=await people.talks("107"), Context="phones", Exten="108")
    await people.talks("108")
    await people.puts_down("107")
    await people.inside.until("AttendedTransfer", origtransfererchannel=await people.rings("107"))
    await people.gives_up(customer)


async def a_colleague_is_asked(people: People, customer: str) -> None:
    await people.call(f"{OWN}109", customer)
    await people.inside.act("Atxfer", Channel=await people.talks("109"), Context="phones", Exten="110")
    await people.talks("110")
    await people.puts_down("110")
    await people.inside.until("Hangup", phone="110")
    await people.gives_up(customer)


async def handed_on_from_a_second_line(people: People, customer: str) -> None:
    await people.call(f"{OWN}111", customer)
    await people.talks("111")
    calls = await people.inside.until("Newchannel", calleridnum=customer)
    await people.dial("111", "112")
    await people.inside.act("Bridge", Channel1=calls["channel"], Channel2=await people.talks("112"))
    await people.inside.until("Hangup", phone="111")
    await people.gives_up(customer)


async def picked_up(people: People, customer: str) -> None:
    await people.call(f"{OWN}203", customer)
    await people.inside.until("Newstate", phone="203", channelstatedesc="Ringing")
    await people.dial("113", "*8203")
    await people.talks("113")
    await people.gives_up(customer)


async def dialled(people: People, customer: str) -> None:
    await people.dial("114", customer)
    await people.talks("114")
    await people.gives_up("114")


async def dialled_in_the_companys_name(people: People, customer: str) -> None:
    await people.dial("199", customer)
    await people.talks("199")
    await people.gives_up("199")


async def dialled_and_busy(people: People, customer: str) -> None:
    await people.dial("117", customer)


async def dialled_and_congested(people: People, customer: str) -> None:
    await people.dial("121", customer)


async def dialled_and_nobodys_number(people: People, customer: str) -> None:
    await people.dial("118", customer)


async def dialled_and_given_up(people: People, customer: str) -> None:
    await people.dial("119", customer)
    call = await people.inside.until("DialBegin", phone="119")
    await people.inside.until("Newstate", channel=call["destchannel"], channelstatedesc="Ringing")
    await people.gives_up("119")


async def clicked(people: People, customer: str) -> None:
    """A program has the phone rung first."""
    await people.inside.act(
        "Originate", Channel="PJSIP/120", Context="phones", Exten=customer, Priority="1", CallerID=f"<{OWN}000>",
        Async="true",
    )  # fmt: skip
    await people.talks("120")
    await people.puts_down("120")


Call = Callable[[People, str], Awaitable[None]]
INBOUND: Final[Sequence[tuple[Call, str, Sequence[tuple[str, str | None]]]]] = [
    (answered, "101", [("ringing", None), ("answered", "a101"), ("ended", None)]),
    (given_up, "201", [("ringing", None), ("missed", None)]),
    (not_answered, "202", [("ringing", None), ("missed", None)]),
    (busy, "301", [("ringing", None), ("missed", None)]),
    (only_a_menu, "903", [("ringing", None), ("missed", None)]),
    (withheld, "102", [("ringing", None), ("answered", "a102"), ("ended", None)]),
    (queue_of_two, "901", [("ringing", None), ("answered", "a115"), ("ended", None)]),
    (queue_behind_a_menu, "902", [("ringing", None), ("answered", "a116"), ("ended", None)]),
    (handed_on, "103", [("ringing", None), ("answered", "a103"), ("answered", "a104"), ("ended", None)]),
    (handed_on_by_the_phone, "105", [("ringing", None), ("answered", "a105"), ("answered", "a106"), ("ended", None)]),
    (handed_on_after_a_word, "107", [("ringing", None), ("answered", "a107"), ("answered", "a108"), ("ended", None)]),
    (a_colleague_is_asked, "109", [("ringing", None), ("answered", "a109"), ("ended", None)]),
    (
        handed_on_from_a_second_line, "111",
        [("ringing", None), ("answered", "a111"), ("answered", "a112"), ("ended", None)],
    ),
    (picked_up, "203", [("ringing", None), ("answered", "a113"), ("ended", None)]),
]  # fmt: skip
OUTBOUND: Final[Sequence[tuple[Call, str, str, Sequence[str]]]] = [
    (dialled, "114", "0825551114", ["ringing", "answered", "ended"]),
    (dialled_in_the_companys_name, "199", "0825551199", ["ringing", "answered", "ended"]),
    (dialled_and_busy, "117", BUSY, ["ringing", "missed"]),
    (dialled_and_congested, "121", CONGESTED, ["ringing", "failed"]),
    (dialled_and_nobodys_number, "118", NOBODYS, ["ringing", "failed"]),
    (dialled_and_given_up, "119", RINGS, ["ringing", "cancelled"]),
    (clicked, "120", "0825551120", ["ringing", "answered", "ended"]),
]


async def test_calls(broker: Broker, namespace: str, tmp_path: Path, telephones: Telephones) -> None:
    """All at once: each is one interaction, with its lifecycle, its sides and who had it."""
    expected: dict[tuple[str, str, str], Sequence[tuple[str, str | None]]] = {}
    async with heard(broker, namespace, tmp_path, telephones.ami) as at, telephones.people() as people:
        calls = []
        for number, (call, to, steps) in enumerate(INBOUND):
            customer = f"08212345{number:02}"
            calls.append(call(people, customer))
            expected["inbound", "anonymous" if call is withheld else customer, f"{OWN}{to}"] = steps
        for call, phone, customer, statuses in OUTBOUND:
            calls.append(call(people, customer))
            expected["outbound", phone, customer] = [(status, f"a{phone}") for status in statuses]
        await asyncio.gather(*calls)
        await at.until_ended(len(expected))
        told = await at.told()
    assert {
        (events[0]["direction"], events[0]["from"], events[0]["to"]): [
            (each["status"], each.get("agent_id")) for each in events
        ]
        for events in told.values()
    } == expected
    assert len(told) == len(expected)
    for events in told.values():
        assert len({(each["direction"], each["from"], each["to"]) for each in events}) == 1
        assert ("duration_s" in events[-1]) == (events[-1]["status"] == "ended")
        for each in events:
            parse_interaction(orjson.dumps(each), channel_of_topic="voice")
        times = [each["occurred_at"] for each in events]
        assert times == sorted(times)
    handed = {events[-1].get("metadata", {}).get("transfer") for events in told.values()}
    assert handed == {None, "blind to 104", "blind to 106", "attended, Success"}


async def test_calls_go_on_while_the_receiver_is_dead(
    broker: Broker, namespace: str, tmp_path: Path, telephones: Telephones
) -> None:
    async with heard(broker, namespace, tmp_path, telephones.ami) as at, telephones.people() as people:
        for phone in ("101", "102"):
            await people.call(f"{OWN}{phone}", f"0821000{phone}")
            await people.talks(phone)
        await at.until_told(4)
        at.receiver.kill()
        await people.gives_up("0821000102")
        await people.inside.until("Hangup", phone="102")
        await people.call(f"{OWN}103", "0821000103")
        await people.talks("103")
        await at.start()
        await at.until_ended(1)
        await people.gives_up("0821000101")
        await people.gives_up("0821000103")
        await at.until_ended(3)
        assert await at.ends(repeated=True) == {
            "0821000101": (["ringing", "answered", "ended"], None),
            "0821000102": (["ringing", "answered", "ended"], "its end was not seen"),
            "0821000103": (["ringing", "answered", "ended"], "a part of it was not seen"),
        }


async def test_a_call_is_answered_while_the_connection_is_cut(
    broker: Broker, namespace: str, tmp_path: Path, telephones: Telephones
) -> None:
    proxy = Proxy(port := free_port(), telephones.ami)
    await proxy.start()
    try:
        async with heard(broker, namespace, tmp_path, port) as at, telephones.people() as people:
            await people.dial("101", RINGS)
            await at.until_told(1)
            proxy.be("cut")
            await people.answers(RINGS)
            await people.talks("101")
            proxy.be("well")
            await at.until_told(2)
            await people.gives_up("101")
            await at.until_ended(1)
            assert await at.ends() == {"101": (["ringing", "answered", "ended"], "a part of it was not seen")}
    finally:
        await proxy.stop()


async def test_a_call_is_heard_over_tls(
    broker: Broker, namespace: str, tmp_path: Path, telephones: Telephones, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = {"TLS": "true", "SSL_CAFILE": str(tmp_path / "ca.pem"), "SSL_SERVER_NAME": "pbx.example"}
    async with heard(broker, namespace, tmp_path, telephones.ami_tls, **tls) as at, telephones.people() as people:
        await answered(people, "0821000101")
        await at.until_ended(1)
        assert await at.ends() == {"0821000101": (["ringing", "answered", "ended"], None)}


async def test_calls_end_where_the_asterisk_dies(
    broker: Broker, namespace: str, tmp_path: Path, telephones: Telephones
) -> None:
    async with heard(broker, namespace, tmp_path, telephones.ami) as at:
        async with telephones.people() as people:
            await people.call(f"{OWN}101", "0821000101")
            await people.talks("101")
            await at.until_told(2)
            await asyncio.to_thread(telephones.company.kill)
        await asyncio.to_thread(telephones.company.start)
        await at.until_ended(1)
        async with telephones.people() as people:
            await people.call(f"{OWN}102", "0821000102")
            await people.talks("102")
            await people.puts_down("102")
            await at.until_ended(2)
        assert await at.ends() == {
            "0821000101": (["ringing", "answered", "ended"], "its end was not seen"),
            "0821000102": (["ringing", "answered", "ended"], None),
        }


@asynccontextmanager
async def heard(broker: Broker, namespace: str, folder: Path, port: int, **settings: str) -> AsyncIterator["Heard"]:
    """A receiver on an Asterisk, and what is in the topic."""
    running = Running(
        bootstrap=broker.bootstrap, redis_url="redis://127.0.0.1:1", namespace=namespace, folder=folder,
        TOPICS__PARTITIONS="1",
    )  # fmt: skip
    await running.apply_topics()
    at = Heard(running, folder, port, settings)
    await at.start()
    try:
        yield at
        assert at.receiver.stop() == 0
    finally:
        at.receiver.kill()


class Heard:
    def __init__(self, running: Running, folder: Path, port: int, settings: Mapping[str, str]) -> None:
        self._running = running
        self._folder = folder
        of = {
            "HOST": "127.0.0.1", "PORT": str(port), "USERNAME": "router", "SECRET": SECRET, "INTERNAL_CALLS": "false",
            **{f"AGENTS__{agent}": f"a{agent}" for agent in (*map(str, range(101, 122)), "199")}, **settings,
        }  # fmt: skip
        self._settings = {f"TENANTS__ACME__AMI__{name}": value for name, value in of.items()}

    async def start(self) -> None:
        state = str(self._folder / "state")
        self.receiver = Receiver(self._running, "ami", self._folder, RECEIVERS__STATE_DIR=state, **self._settings)
        assert await self.receiver.at() == "switches=1"

    async def told(self) -> Mapping[str, Sequence[dict[str, Any]]]:
        """Return all events by their interactions."""
        calls = defaultdict(list)
        for each in await raw_records(self._running, "voice"):
            calls[each["interaction_id"]].append(each)
        return calls

    async def ends(self, *, repeated: bool = False) -> Mapping[str, tuple[Sequence[str], str | None]]:
        """Return how each call went, by who called, and what it says of a gap.

        `repeated` where a receiver was killed: what it had told but not yet put down as told comes again, word for word.
        """
        ends = {}
        for events in (await self.told()).values():
            once = [each for nth, each in enumerate(events) if not repeated or each not in events[:nth]]
            ends[once[0]["from"]] = [each["status"] for each in once], once[-1].get("metadata", {}).get("gap")
        return ends

    async def until_told(self, count: int) -> None:
        async def is_told() -> bool:
            return len(await raw_records(self._running, "voice")) >= count

        await until(is_told)

    async def until_ended(self, count: int) -> None:
        async def have_ended() -> bool:
            ended = [events for events in (await self.told()).values() if FINAL & {each["status"] for each in events}]
            return len(ended) >= count

        await until(have_ended)
