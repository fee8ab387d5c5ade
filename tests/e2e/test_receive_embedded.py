"""`receive http --data`: webhooks with no server at all, assigned in the same process."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.embedded import Program
from tests.integration.receiver import GATEWAYS, PUBLIC_URL, Receiver, at
from tests.integration.running import until
from tests.servers.addresses import free_port
from tests.unit.channels.asked import form
from tests.unit.channels.payloads import CALL

ENV = {f"INTERACTION_ROUTER_{name}": value for name, value in GATEWAYS.items()}


class Embedded(Receiver):
    def __init__(self, data: Path, errors: Path) -> None:
        self.port, self.errors = free_port(), errors
        command = [sys.executable, "-m", "interaction_router", "receive", "http", "--port", str(self.port)]
        env = {**os.environ, **ENV, "INTERACTION_ROUTER_RECEIVERS__HTTP__PUBLIC_URL": PUBLIC_URL}
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen([*command, "--data", str(data)], env=env, stderr=stderr)


def test_webhooks_are_assigned_without_a_server(program: Program, tmp_path: Path) -> None:
    program("topics", "apply")
    receiver = Embedded(program.data, tmp_path / "errors")

    async def send() -> list[int]:
        await receiver.listening()
        call = at("twilio", form({**CALL, "CallStatus": "completed"}))
        recording = at("twilio", form({"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://x/1"}))
        return [(await receiver.send("twilio", request)).status for request in (call, recording, call)]

    async def ended() -> bool:
        return receiver.process.poll() is not None

    try:
        assert asyncio.run(send()) == [200, 200, 200]
        receiver.process.send_signal(signal.SIGTERM)
        asyncio.run(until(ended, within_s=10))
        assert receiver.process.returncode == 0, receiver.errors.read_text()
    finally:
        receiver.kill()
    (row,) = program("conversations", "list", "--tenant", "acme", "--json").json
    assert (row["endpoint"], row["interaction_count"], row["seq"]) == ("tel:+27821234567", 1, 3)
