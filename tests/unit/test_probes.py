"""The worker's own web server: what it answers, and what becomes of a port that is taken."""

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import orjson
import pytest
from prometheus_client import CollectorRegistry

from interaction_router.adapters.probes import Probes, serving
from interaction_router.adapters.prometheus import Meters
from interaction_router.application.health import LaneState
from interaction_router.domain.errors import RetryableError
from interaction_router.settings import UnusableSettingError, WorkerSettings, load_settings


class Shell:
    """A shell that is as a test wants it."""

    def __init__(self) -> None:
        self.ready = True
        self.busy_s: dict[str, float] = {}

    def busy(self) -> Mapping[str, float]:
        return self.busy_s

    async def states(self) -> Sequence[LaneState]:
        return []


class Clock:
    def now_ms(self) -> int:
        return 0


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def served(shell: Shell, *, stall_limit_s: float = 60.0) -> Iterator[int]:
    probes = Probes(shell, Meters(CollectorRegistry()), Clock(), stall_limit_s=stall_limit_s)
    port = free_port()
    with serving(WorkerSettings(web_port=port), probes.pages()):
        yield port


def get(port: int, path: str) -> tuple[int, bytes]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_a_worker_that_is_well_says_so() -> None:
    with served(Shell()) as port:
        assert get(port, "/livez") == (200, b'{"ok":true,"reasons":[]}\n')
        assert get(port, "/readyz")[0] == 200
        status, body = get(port, "/metrics")
        assert status == 200
        assert b"\ninteraction_router_ready 1.0\n" in body
        assert b"\nprocess_resident_memory_bytes " in body
        assert get(port, "/")[0] == 404


def test_one_that_is_not_says_why() -> None:
    shell = Shell()
    shell.ready, shell.busy_s = False, {"internal.log:3": 99.0}
    with served(shell) as port:
        status, body = get(port, "/livez")
        assert (status, orjson.loads(body)["reasons"]) == (503, ["internal.log:3 has made no progress for 99 s"])
        status, body = get(port, "/readyz")
        assert (status, orjson.loads(body)["ok"]) == (503, False)
        assert b"\ninteraction_router_ready 0.0\n" in get(port, "/metrics")[1]


async def test_it_answers_while_the_event_loop_stands_still() -> None:
    with served(Shell(), stall_limit_s=0.05) as port:
        answer = asyncio.get_running_loop().run_in_executor(None, _after, 0.1, port)
        time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still
        status, body = await answer
        assert status == 503
        assert b"the event loop has stood still" in body


def _after(seconds: float, port: int) -> tuple[int, bytes]:
    time.sleep(seconds)
    return get(port, "/livez")


def test_nothing_listens_where_the_port_is_none() -> None:
    with serving(WorkerSettings(web_port=0), {}):
        pass


def test_a_second_worker_on_the_default_port_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings({"INTERACTION_ROUTER_WORKER__WEB_HOST": "127.0.0.1"}, None, {}).worker
    with serving(settings, {}), serving(settings, {}):
        pass
    assert [record.getMessage() for record in caplog.records][-1:] == ["web_port_taken"]


def test_a_port_that_was_set_and_is_taken_is_an_error_that_names_it() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        env = {"INTERACTION_ROUTER_WORKER__WEB_PORT": str(taken.getsockname()[1])}
        settings = load_settings(env, None, {}).worker
        with pytest.raises(RetryableError, match=r"worker\.web_port") as raised, serving(settings, {}):
            pass
        assert raised.value.code == "web_port_taken"


def test_an_address_that_is_not_this_machines_is_a_wrong_setting() -> None:
    with (
        pytest.raises(UnusableSettingError, match=r"worker\.web_host") as raised,
        serving(WorkerSettings(web_host="192.0.2.1", web_port=free_port()), {}),
    ):
        pass
    assert raised.value.code == "web_address"
