"""Three real brokers in KRaft mode, each with a second listener that only a proxy leads to."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.servers.addresses import LOOPBACK, free_port
from tests.servers.broker import Broker, Member

MEMBERS = (1, 2, 3)


class Cluster:
    """Every topic has three copies, of which two have to be in step. Each method blocks."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs before `start`. `ways` are the proxied listeners: where a proxy listens, and what it leads to."""
        controllers = {number: free_port() for number in MEMBERS}
        self.ways = [(free_port(), free_port()) for _ in MEMBERS]
        self.brokers = [
            Broker(folder / f"broker-{number}", member=Member(number, controllers, listens, proxy))
            for number, (proxy, listens) in zip(MEMBERS, self.ways, strict=True)
        ]

    @property
    def bootstrap(self) -> str:
        """The addresses that nothing stands before."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    @property
    def proxied(self) -> str:
        """The addresses of the proxies."""
        return ",".join(f"{LOOPBACK}:{proxy}" for proxy, _ in self.ways)

    def __enter__(self) -> Self:
        """Start them at once: none serves clients before two are there."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(Broker.start, self.brokers))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them at once."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(Broker.kill_if_running, self.brokers))
