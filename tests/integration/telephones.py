"""A company's Asterisk, and another one that is everything outside of it: its carrier, its phones, and all customers.

Extensions of three digits are phones: 1.. answer, 2.. ring for ever, but 202 for a second, 3.. are busy; 199 shows the
company's number.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from tests.servers import Asterisk
from tests.servers.addresses import LOOPBACK, free_port

OWN: Final = "0110000"
"""The company's numbers begin with it, and end with who is rung: 000 is its own, 9.. are menus and queues."""
SECRET: Final = "s3cret"
_PATIENCE_S: Final = 30.0
_DOCS: Final = Path(__file__).parents[2] / "docs" / "mail-and-telephony.md"
_PHONES: Final = [f"{group}{number:02}" for group in "123" for number in range(1, 22)] + ["199"]

Event = Mapping[str, str]

_DIALPLAN: Final = f"""\
[carrier]
exten => _{OWN}XXX,1,Dial(PJSIP/${{EXTEN:-3}},30,tT)
exten => {OWN}202,1,Dial(PJSIP/202,1)
exten => {OWN}901,1,Queue(both,tT,,,30)
 same => n,Hangup()
exten => {OWN}902,1,Answer()
 same => n,Wait(0.2)
 same => n,Queue(joined,tT,,,30)
exten => {OWN}903,1,Answer()
 same => n,Wait(0.2)
 same => n,Hangup()
[phones]
exten => _XXX,1,Dial(PJSIP/${{EXTEN}},30,tT)
exten => _08X.,1,Dial(PJSIP/${{EXTEN}}@carrier,30,tT)
exten => _*8XXX,1,PickupChan(PJSIP/${{EXTEN:2}})
"""
_QUEUES: Final = """\
[general]
[both]
strategy = ringall
member => PJSIP/215
member => PJSIP/115
[joined]
member => Local/116@phones/n
"""
# Whoever is called outside: each answers, but for those whose number says otherwise.
_OUTSIDE: Final = """\
[called]
exten => _X.,1,Ringing()
 same => n,Wait(0.3)
 same => n,Answer()
 same => n,Milliwatt()
exten => _2XX,1,Ringing()
 same => n,Wait(60)
exten => _3XX,1,Busy()
exten => 0825550001,1,Ringing()
 same => n,Wait(60)
exten => 0825550002,1,Busy()
exten => 0825550003,1,Congestion()
exten => 0825550004,1,Hangup(1)
exten => answer,1,Answer()
 same => n,Milliwatt()
[hands-on]
exten => _X.,1,Transfer(PJSIP/sip:${{EXTEN}}@{at})
 same => n,Wait(60)
"""
_TLS: Final = f"""\
[general](+)
tlsenable = yes
tlsbindaddr = {LOOPBACK}:{{port}}
tlscertfile = {{certificate}}
"""
_BY_ADDRESS: Final = f"[{{0}}]\ntype = identify\nendpoint = {{0}}\nmatch = {LOOPBACK}\n"
"""Whoever calls by no name that is known is there."""


class Manager:
    """A connection to an Asterisk's manager interface, with all that it has told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._told: list[Event] = []
        self._more = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._asked = 0
        self._hearing = asyncio.create_task(self._hear(), name="manager")

    @classmethod
    async def at(cls, port: int) -> Self:
        """Log in as somebody who may do everything."""
        manager = cls(*await asyncio.open_connection(LOOPBACK, port))
        assert (await manager.act("Login", Username="tests", Secret=SECRET))["response"] == "Success"
        return manager

    def close(self) -> None:
        self._hearing.cancel()
        self._writer.close()

    async def act(self, action: str, **fields: str) -> Event:
        """Have something done, and return the answer."""
        self._asked += 1
        asked = {"Action": action, "ActionID": str(self._asked), **fields}
        self._writer.write("".join(f"{name}: {value}\r\n" for name, value in asked.items()).encode() + b"\r\n")
        return await self.until("", actionid=asked["ActionID"])

    async def until(self, event: str, *, phone: str | None = None, **fields: str) -> Event:
        """Wait until something has been told, of a channel to a phone perhaps, and return it."""
        seen = 0
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                for told in self._told[seen:]:
                    channel = told.get("channel", "")
                    its = phone is None or channel.startswith(f"PJSIP/{phone}-")
                    if its and told.get("event", "") == event and told.items() >= fields.items():
                        return told
                seen, more = len(self._told), self._more
                await more.wait()

    async def _hear(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = (line.partition(":") for line in lines)
                self._told.append({name.strip().lower(): value.strip() for name, colon, value in pairs if colon})
                self._more.set()
                self._more = asyncio.Event()


class Telephones:
    """The two of them, and what people do with them."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        """`certificate` is the company's manager's, with its key."""
        self.ami, self.ami_tls = free_port(), free_port()
        self._outside_ami, sip, outside_sip = free_port(), free_port(), free_port()
        inside, outside = f"{LOOPBACK}:{sip}", f"{LOOPBACK}:{outside_sip}"
        phones = [
            _endpoint(phone, "phones", f"{phone}@{outside}", callerid=f"<{OWN}000>" if phone == "199" else f"<{phone}>")
            for phone in _PHONES
        ]
        callers = [_endpoint(phone, "called", inside, from_user=phone) for phone in (*_PHONES, "anonymous")]
        self.company = Asterisk(
            folder / "company",
            {
                **_files(
                    self.ami, sip, [_endpoint("carrier", "carrier", outside), _BY_ADDRESS.format("carrier"), *phones]
                ),
                "extensions.conf": _DIALPLAN,
                "manager_tls.conf": _TLS.format(port=self.ami_tls, certificate=certificate),
                "queues.conf": _QUEUES,
            },
        )
        self._outside = Asterisk(
            folder / "outside",
            {
                **_files(
                    self._outside_ami,
                    outside_sip,
                    [_endpoint("company", "called", inside), _BY_ADDRESS.format("company"), *callers],
                ),
                "extensions.conf": _OUTSIDE.format(at=inside),
                "manager_tls.conf": "",
                "queues.conf": "[general]\n",
            },
        )

    @contextmanager
    def running(self) -> Iterator[Self]:
        with self.company, self._outside:
            yield self

    @asynccontextmanager
    async def people(self) -> AsyncIterator["People"]:
        """Whoever acts at the telephones."""
        people = People(await Manager.at(self.ami), await Manager.at(self._outside_ami))
        try:
            yield people
        finally:
            await people.outside.act("Command", Command="channel request hangup all")
            people.inside.close()
            people.outside.close()


class People:
    """Whoever calls, answers and hands on."""

    def __init__(self, inside: Manager, outside: Manager) -> None:
        self.inside = inside
        self.outside = outside

    async def call(self, number: str, caller: str, *, through: str = "company") -> None:
        """A customer calls; through `anonymous` the number is withheld."""
        await self.outside.act(
            "Originate", Channel=f"PJSIP/{number}@{through}", CallerID=f"<{caller}>", ChannelId=f"call-of-{caller}",
            Application="Milliwatt", Async="true",
        )  # fmt: skip

    async def dial(self, phone: str, number: str) -> None:
        """Somebody takes up a phone and dials."""
        await self.call(number, phone, through=phone)

    async def answers(self, number: str) -> None:
        """Somebody answers who would not have by themselves."""
        line = await self.outside.until("Newchannel", exten=number)
        await self.outside.act("Redirect", Channel=line["channel"], Context="called", Exten="answer", Priority="1")

    async def rings(self, phone: str) -> str:
        """Return the company's channel to a phone, once there is one."""
        return (await self.inside.until("Newchannel", phone=phone))["channel"]

    async def talks(self, phone: str) -> str:
        """Return the company's channel to a phone, once somebody is heard there."""
        bridge = (await self.inside.until("BridgeEnter", phone=phone))["bridgeuniqueid"]
        await self.inside.until("BridgeEnter", bridgeuniqueid=bridge, bridgenumchannels="2")
        return await self.rings(phone)

    async def puts_down(self, phone: str) -> None:
        """Somebody hangs up at a phone."""
        await self.inside.act("Hangup", Channel=await self.rings(phone))

    async def gives_up(self, caller: str) -> None:
        """Who called hangs up."""
        await self.outside.act("Hangup", Channel=f"call-of-{caller}")

    async def refers(self, phone: str, to: str) -> None:
        """A phone hands its call on by itself, as SIP has it (REFER)."""
        line = await self.outside.until("Newchannel", exten=phone)
        await self.outside.act("Redirect", Channel=line["channel"], Context="hands-on", Exten=to, Priority="1")


def _documented(port: int) -> Mapping[str, str]:
    """Return the files of the manager as the documentation has them, and with somebody who may do everything."""
    found = dict(re.findall(r"^```ini\n; (\S+)\n(.*?)^```", _DOCS.read_text(), re.MULTILINE | re.DOTALL))
    manager = found["manager.conf"].replace("port = 5038", f"port = {port}")
    return {
        **found,
        "manager.conf": f"{manager}\n#include manager_tls.conf\n[tests]\nsecret = {SECRET}\nread = all\nwrite = all\n",
    }


def _files(ami: int, sip: int, endpoints: Sequence[str]) -> Mapping[str, str]:
    return {
        **_documented(ami),
        "cdr.conf": "[general]\nenable = yes\n",
        "features.conf": "[featuremap]\natxfer = *2\n",
        "pjsip.conf": f"[udp]\ntype = transport\nprotocol = udp\nbind = {LOOPBACK}:{sip}\n"
        "[global]\ntype = global\nendpoint_identifier_order = username,ip\n" + "".join(endpoints),
        "rtp.conf": "[general]\nrtpstart = 12000\nrtpend = 18000\n",
    }


def _endpoint(name: str, context: str, contact: str, **more: str) -> str:
    """Return somebody that calls come from, known by the name, and go to."""
    options = {"transport": "udp", "context": context, "disallow": "all", "allow": "ulaw", "aors": name, **more}
    lines = "".join(f"{option} = {value}\n" for option, value in options.items())
    return f"[{name}]\ntype = endpoint\n{lines}[{name}]\ntype = aor\ncontact = sip:{contact}\n"
