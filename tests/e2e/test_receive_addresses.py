"""Receivers that cannot listen where they should: one line, and the exit code that the cause has."""

import os
import socket
import subprocess
import sys

import pytest

from tests.e2e.embedded import Program

ELSEWHERE = "203.0.113.9"
"""Of no machine: TEST-NET-3, RFC 5737."""


def receive(program: Program, receiver: str, host: str, port: int) -> tuple[int, str]:
    """Run a receiver until it ends; return its exit code and the errors that it tells."""
    program("topics", "apply")
    env = {**os.environ, "INTERACTION_ROUTER_TENANTS__ACME__MAIL_DOMAINS": '["acme.example"]'}
    command = [sys.executable, "-m", "interaction_router", "receive", receiver, "--host", host, "--port", str(port)]
    ran = subprocess.run(
        [*command, "--data", str(program.data)], env=env, stderr=subprocess.PIPE, text=True, check=False, timeout=30
    )
    return ran.returncode, "\n".join(line for line in ran.stderr.splitlines() if line.startswith("error: "))


@pytest.mark.parametrize("receiver", ["http", "smtp"])
def test_an_address_of_another_machine_is_a_wrong_setting(program: Program, receiver: str) -> None:
    code, told = receive(program, receiver, ELSEWHERE, 8025)
    assert code == 78
    assert told.startswith(f"error: address_unusable: It cannot listen at {ELSEWHERE}:8025 (")
    assert told.endswith(f"Check receivers.{receiver}.host and receivers.{receiver}.port.")


@pytest.mark.parametrize("receiver", ["http", "smtp"])
def test_a_port_of_another_program_is_not_to_be_had_now(program: Program, receiver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, told = receive(program, receiver, "127.0.0.1", port)
    assert code == 69
    assert told == (
        f"error: port_taken: Another program listens at 127.0.0.1:{port}. "
        f"Set receivers.{receiver}.host and receivers.{receiver}.port to a free one."
    )
