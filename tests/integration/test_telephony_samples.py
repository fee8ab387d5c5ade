"""What real switches have told, through the real receivers into a real broker, and out as updates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from interaction_router.channels.unsent import events_of
from tests.integration.receivers import Receiver
from tests.integration.running import Running, until, updates
from tests.integration.switchboards import AsteriskBoard, Event, FreeSwitchBoard, Switchboard
from tests.integration.test_receive_telephony import SAMPLES
from tests.servers import Broker, RedisServer

SECRET = "s3cret"


def events(name: str) -> list[Event]:
    return list(events_of((SAMPLES / name).read_bytes()))


class Sample(NamedTuple):
    kind: str
    board: type[Switchboard]
    file: str
    told: Sequence[str]


CALLS = [
    Sample("ami", AsteriskBoard, "08_asterisk_ami_originate_call.txt", ["ringing", "answered", "ended"]),
    Sample("esl", FreeSwitchBoard, "09_freeswitch_esl_channel_create.txt", ["ringing"]),
]


@pytest.mark.skipif(not SAMPLES.exists(), reason="the samples are not here")
@pytest.mark.parametrize("sample", CALLS, ids=[each.kind for each in CALLS])
async def test_a_sample_becomes_a_conversation(
    broker: Broker, redis_server: RedisServer, namespace: str, tmp_path: Path, sample: Sample
) -> None:
    kind, board, file, told = sample
    running = Running(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace, folder=tmp_path)
    await running.apply_topics()
    log, worker = running.log(), running.worker()
    async with board([([], events(file))], secret=SECRET) as switch:
        settings = {"HOST": "127.0.0.1", "PORT": str(switch.port), "SECRET": SECRET}
        if kind == "ami":
            settings["USERNAME"] = "router"
        named = {f"TENANTS__ACME__{kind.upper()}__{name}": value for name, value in settings.items()}
        receiver = Receiver(running, kind, tmp_path, **named)
        try:
            assert await receiver.at() == "switches=1"

            async def are_told() -> bool:
                return len(await interactions()) == len(told)

            async def interactions() -> list[dict[str, Any]]:
                return [each["interaction"] for each in await updates(log) if "interaction" in each]

            await until(are_told)
            assert [each["status"] for each in await interactions()] == told
            assert {each["channel"] for each in await interactions()} == {"voice"}
            assert len({each["conversation_id"] for each in await updates(log)}) == 1
            assert worker.stop() == 0
        finally:
            receiver.kill()
            worker.kill()
            await log.stop()
