"""Mail into the program on embedded storage, and out as the right updates."""

import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from tests.e2e.embedded import Ran
from tests.integration.receivers import Receiver, ready_at
from tests.integration.running import Running


def mail(message_id: str | None, text: str = "Where is it?", **headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "Ann <ann@example.com>", "To": "help@acme.example", "Subject": "My parcel",
                        "Date": "Sun, 22 Nov 2026 10:15:30 +0200", **headers}.items():  # fmt: skip
        message[name.replace("_", "-")] = value
    if message_id is not None:
        message["Message-ID"] = message_id
    message.set_content(text)
    return message


def test_acceptance_43_44_45_mail_joins_by_its_sender_and_a_repeat_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tmp_path))

    def program(*arguments: str) -> Ran:
        return Ran(run([*arguments, *data], Invocation(env={"USER": "ann"})), *capsys.readouterr())

    assert program("topics", "apply").code == 0
    assert program("contacts", "save", "c1", "--tenant", "acme", "--address", "ann@example.com").code == 0
    running = Running(bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1", namespace="router", folder=tmp_path)
    receiver = Receiver(
        running, f"smtp --port 0 --data {tmp_path}", tmp_path, TENANTS__ACME__MAIL_DOMAINS='["acme.example"]'
    )
    try:
        host, _, port = ready_at(receiver).rpartition(":")
        with smtplib.SMTP(host, int(port), timeout=20) as client:
            for message in (
                mail("<1@example.com>"),
                mail("<1@example.com>"),
                mail(None, "No id."),
                mail(None, "No id."),
                mail("<2@other.example>", From="Bob <bob@other.example>", References="<1@example.com>"),
            ):
                client.send_message(message, "a@example.com", ["help@acme.example"])
        assert receiver.stop() == 0
    finally:
        receiver.kill()
    updates = program("tail", "--from-beginning", "--no-follow", "--json").lines
    added = [each for each in updates if each["type"] == "conversation.interaction_added"]
    assert [(each["contact_id"], each["interaction"].get("references")) for each in added] in (
        [("c1", None), ("c1", None), (None, ["1@example.com"])],
        [(None, ["1@example.com"]), ("c1", None), ("c1", None)],
    )
