"""The dead letters, and their way back."""

from interaction_router.adapters.clock import SystemClock
from interaction_router.application.handled import HandledLetters
from interaction_router.application.letters import Letters
from interaction_router.application.redriving import Redriving
from interaction_router.bootstrap.observing import observer_of
from interaction_router.bootstrap.terms import raw_streams
from interaction_router.domain.names import topic_name
from interaction_router.ports import Log
from interaction_router.settings import Settings


def letters_of(settings: Settings, log: Log) -> Letters:
    """Return the dead letters."""
    return Letters(log, namespace=settings.namespace, inputs=settings.inputs_namespace)


def redriving_of(settings: Settings, log: Log, letters: Letters, handled: HandledLetters) -> Redriving:
    """Return what sends dead letters back to where they came from, and marks them."""
    names = (settings.namespace, settings.inputs_namespace)
    inputs = {stream: topic_name(names[0], stream, names[1]) for stream in raw_streams(settings)}
    return Redriving(letters, log, handled, SystemClock(), inputs=inputs, observer=observer_of(settings))
