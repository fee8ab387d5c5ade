"""`channels check` on mail and on sessions of switches."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from interaction_router.cli.app import run
from interaction_router.cli.invocation import Invocation
from tests.unit.channels import switches as sw
from tests.unit.test_mail import PLAIN


@pytest.mark.parametrize(
    ("vendor", "payload", "statuses"),
    [
        ("mail", PLAIN, ["received"]),
        ("asterisk", sw.written(sw.INBOUND), ["ringing", "answered", "ended"]),
        ("freeswitch", sw.written(sw.ESL_INBOUND), ["ringing", "answered", "ended"]),
    ],
)
def test_what_it_becomes(
    vendor: str, payload: bytes, statuses: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "payload"
    path.write_bytes(payload)
    code = run(
        ["channels", "check", str(path), "--vendor", vendor, "--tenant", "acme", "--offline", "--json"],
        Invocation(env={}),
    )
    items = json.loads(capsys.readouterr().out)["items"]
    assert (code, [each["interaction"]["status"] for each in items]) == (0, statuses)
    assert {each["interaction"]["tenant"] for each in items} == {"acme"}
