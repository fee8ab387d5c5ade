"""What aiokafka's exceptions mean here: wait and try again, or stop and let somebody decide."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors

from interaction_router.adapters.transports import is_closed_transport
from interaction_router.domain.errors import FatalError, RetryableError, RouterError

_FORBIDDEN = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.SaslAuthenticationFailed,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_UNSUPPORTED = (errors.IncompatibleBrokerVersion, errors.UnsupportedVersionError)
_INVALID = (errors.InvalidTopicError, errors.TopicAlreadyExistsError, errors.InvalidPartitionsError)

_OWN_FAULTS = (errors.IllegalArgumentError, errors.IllegalStateError)

_VERSION = "Use Kafka 3.1 or later; `interaction-router doctor` says what is missing."
AWAY = "Check that the brokers run, and `kafka.bootstrap_servers`."
APPLY = "Run `interaction-router topics apply`."


def translated(error: BaseException, subject: str) -> RouterError:
    """Return what `error` is to this program; `subject` is a topic or what was asked, never data.

    Whatever is not known to be for ever counts as passing: brokers come back, disks are emptied, leaders are elected.
    """
    name = type(error).__name__
    if isinstance(error, RouterError):
        return error
    if isinstance(error, _FORBIDDEN):
        cause = f"Kafka does not let this client do it ({name}): {subject}."
        return FatalError("kafka_forbidden", cause, "Check kafka.sasl_* and the broker's access lists.")
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return FatalError("topic_missing", f"There is no such topic or partition: {subject}.", APPLY)
    if isinstance(error, _TOO_LARGE):
        cause = f"A record is larger than the topic takes: {subject}."
        return FatalError("record_too_large", cause, "`interaction-router topics check` compares max.message.bytes.")
    if isinstance(error, _UNSUPPORTED):
        return FatalError("kafka_version", f"The broker does not speak a request that is needed ({name}).", _VERSION)
    if isinstance(error, _INVALID):
        return FatalError("topic_refused", f"Kafka refuses it ({name}): {subject}.")
    if isinstance(error, NotImplementedError):  # how aiokafka says that no version of a request is common to both
        return FatalError("kafka_version", f"The broker does not speak a request that is needed: {error}.", _VERSION)
    return RetryableError("kafka_unavailable", f"Kafka does not answer ({name}): {subject}.", AWAY)


@contextmanager
def translating(subject: str) -> Iterator[None]:
    """Raise aiokafka's errors, and those of sockets and time-outs, as the program's own."""
    try:
        yield
    except _OWN_FAULTS:
        raise
    except (errors.KafkaError, OSError, TimeoutError, NotImplementedError) as error:
        raise translated(error, subject) from error
    except RuntimeError as error:
        if not is_closed_transport(error):
            raise
        raise translated(error, subject) from error
