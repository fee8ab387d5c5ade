"""The hearing of switches."""

import re
import ssl
from collections.abc import Mapping

from interaction_router.adapters.clock import SystemClock
from interaction_router.bootstrap.receiving import Ready, kept_of, nothing_to_receive, receiving, tasks
from interaction_router.channels.asterisk import Asterisk
from interaction_router.channels.calls import CHANNEL as VOICE
from interaction_router.channels.calls import Line
from interaction_router.channels.freeswitch import FreeSwitch
from interaction_router.domain.errors import ConfigurationError
from interaction_router.receivers import ami, esl
from interaction_router.receivers.switches import Converse, Machine, Switch, SwitchHost
from interaction_router.settings import AmiSettings, EslSettings, Settings, SwitchSettings


async def receive_ami(settings: Settings, ready: Ready) -> None:
    """Hear every tenant's Asterisk until cancelled; `ready` hears once each has been tried."""
    switches = {
        _host("ami", name, at): (ami.conversation(at), Asterisk(_line(name, "asterisk", at)))
        for name, of in settings.tenants.items()
        if (at := of.ami) is not None
    }
    if not switches:
        raise nothing_to_receive("ami", setting="ami", what="where the tenant's Asterisk is")
    await _hear(settings, "ami", switches, ready)


async def receive_esl(settings: Settings, ready: Ready) -> None:
    """Hear every tenant's FreeSWITCH until cancelled; `ready` hears once each has been tried."""
    switches = {
        _host("esl", name, at): (esl.conversation(at), FreeSwitch(_line(name, "freeswitch", at)))
        for name, of in settings.tenants.items()
        if (at := of.esl) is not None
    }
    if not switches:
        raise nothing_to_receive("esl", setting="esl", what="where the tenant's FreeSWITCH is")
    await _hear(settings, "esl", switches, ready)


def _host(kind: str, tenant: str, at: AmiSettings | EslSettings) -> SwitchHost:
    if not at.tls:
        return SwitchHost(kind, tenant, at.host, at.port)
    try:
        context = ssl.create_default_context(cafile=at.ssl_cafile)
    except (OSError, ssl.SSLError) as error:
        cause = f"The certificates to trust a switch by cannot be used: {error.strerror or error.args[-1]}."
        raise ConfigurationError(
            "certificate_unusable", cause, f"Look at tenants.{tenant}.{kind}.ssl_cafile."
        ) from error
    return SwitchHost(kind, tenant, at.host, at.port, context, at.ssl_server_name or at.host)


def _line(tenant: str, provider: str, at: SwitchSettings) -> Line:
    return Line(tenant, provider, re.compile(at.internal_numbers), at.internal_calls, at.agents)


async def _hear(
    settings: Settings, receiver: str, places: Mapping[SwitchHost, tuple[Converse, Machine]], ready: Ready
) -> None:
    kept = kept_of(settings, receiver)
    async with receiving(settings, receiver, VOICE) as taker, tasks() as group:
        switches = [
            Switch(place, converse, machine, taker, kept, SystemClock())
            for place, (converse, machine) in places.items()
        ]
        for switch in switches:
            group.create_task(switch.run(), name="switch")
        for switch in switches:
            await switch.tried.wait()
        ready(f"switches={len(switches)}")
