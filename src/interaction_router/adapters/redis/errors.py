"""What the server and its client say, in the program's words: is it over by itself, or must somebody act?"""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ClusterError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from interaction_router.adapters.certificates import why_untrusted
from interaction_router.adapters.transports import is_closed_transport
from interaction_router.domain.errors import ConfigurationError, FatalError, RetryableError, RouterError

_REPLIES: dict[str, tuple[type[RouterError], str, str, str]] = {
    "OOM": (RetryableError, "redis_full", "Redis has used up its `maxmemory`.", "Raise it or free memory."),
    "LOADING": (RetryableError, "redis_loading", "Redis is loading its data.", ""),
    "BUSY": (RetryableError, "redis_busy", "Redis is busy with a script of somebody.", ""),
    "READONLY": (RetryableError, "redis_readonly", "Redis is a replica.", "Point `redis.url` at the primary."),
    "MASTERDOWN": (RetryableError, "redis_primary_down", "Redis is a replica and has lost its primary.", ""),
    "NOREPLICAS": (RetryableError, "redis_replicas_missing", "Redis has fewer replicas than it must have.", ""),
    "MISCONF": (RetryableError, "redis_disk", "Redis cannot save to its disk and refuses writes.", "See its log."),
    "TRYAGAIN": (RetryableError, "redis_resharding", "The cluster is moving the partition's slot.", ""),
    "CLUSTERDOWN": (RetryableError, "redis_cluster_down", "The cluster does not serve all slots.", ""),
    "CLEARING": (
        RetryableError,
        "tables_clearing",
        "The partition's tables are being removed or replaced.",
        "Where no `state rebuild` is running, one was broken off: run it again.",
    ),
    "DAMAGED": (
        FatalError,
        "tables_damaged",
        "A batch was written into the tables by half.",
        "Run `interaction-router state rebuild`.",
    ),
    "WRONGTYPE": (
        FatalError,
        "tables_damaged",
        "A key of the tables holds what this program did not write.",
        "Give the router a namespace of its own, then run `interaction-router state rebuild`.",
    ),
    "NOPERM": (
        FatalError,
        "redis_forbidden",
        "Redis forbids a command or a key to this user.",
        "Allow it `~<namespace>:* +@all -@dangerous +info +scan`.",
    ),
    "NOAUTH": (ConfigurationError, "redis_unauthenticated", "Redis wants a password.", "Set `redis.password`."),
    "WRONGPASS": (
        ConfigurationError,
        "redis_unauthenticated",
        "Redis knows no such user and password.",
        "Check `redis.username` and `redis.password`.",
    ),
}

AWAY = "Check that the server runs, and `redis.url`."


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises into a `RetryableError` or a `FatalError`."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise _translate(error) from error
    except RuntimeError as error:
        if not is_closed_transport(error):
            raise
        raise RetryableError("redis_unreachable", "The connection to Redis has ended.") from error


def _translate(error: Exception) -> RouterError:
    """Return ours for theirs; nothing of a command's arguments gets into it."""
    text = str(error)
    # Older servers, and errors of connecting, come as text alone; else the client takes the code off the text.
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if code in _REPLIES:
        kind, name, cause, advice = _REPLIES[code]
        return kind(name, cause, advice)
    match error:
        case AuthenticationError() | AuthorizationError():
            return ConfigurationError(
                "redis_unauthenticated", "Redis refuses the login.", "Check `redis.username` and `redis.password`."
            )
        case NoPermissionError():
            return _translate(NoPermissionError("NOPERM"))
        case RedisTimeoutError() | TimeoutError():
            return RetryableError("redis_timeout", "Redis did not answer in time.", "See `redis.timeout`.")
        case RedisConnectionError() | OSError() if certificate := why_untrusted(error):
            cause = f"The certificate of Redis is not trusted: {certificate}."
            return ConfigurationError("redis_tls", cause, "Check `redis.ssl_cafile`, and that it names this host.")
        case RedisConnectionError() | OSError():
            return RetryableError("redis_unreachable", f"No connection to Redis: {text.rstrip('.')}.", AWAY)
        case ClusterDownError() | SlotNotCoveredError() | ClusterError():
            return RetryableError("redis_cluster_down", "The cluster does not answer for the partition's slot now.")
        case RedisClusterException() if "Cluster mode is not enabled" in text:
            return ConfigurationError("redis_cluster", "Redis is no cluster.", "Set `redis.cluster` to false.")
        case RedisClusterException() if "cannot be connected" in text:
            return RetryableError("redis_unreachable", "No node of the cluster can be reached.", AWAY)
        case RedisClusterException():
            # Its nodes disagree about the slots, or some slots are with nobody: so it is amid a failover.
            return RetryableError("redis_cluster_down", "The cluster's nodes do not agree about its slots now.")
        case ResponseError():
            return FatalError("redis_refused", f"Redis refuses: {text.partition(', with args')[0][:200]}.")
        case _:
            return FatalError("redis_unexpected", f"The Redis client failed with {type(error).__name__}.")
