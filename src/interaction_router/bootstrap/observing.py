"""Who hears what stages and commands do."""

import logging

from interaction_router.adapters.failpoints import Failpoints, kill_this_process
from interaction_router.application.unobserved import UNOBSERVED
from interaction_router.ports import Observer
from interaction_router.settings import Settings
from interaction_router.settings.failpoints import parse_failpoints

_LOGGER = logging.getLogger("interaction_router.bootstrap")


def observer_of(settings: Settings, observer: Observer = UNOBSERVED) -> Observer:
    """Return the observer itself, where no test wants the process to die."""
    if settings.failpoints is None:
        return observer
    _LOGGER.warning("failpoints_set", extra={"failpoints": settings.failpoints})
    return Failpoints(parse_failpoints(settings.failpoints), observer, die=kill_this_process)
