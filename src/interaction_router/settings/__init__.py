"""The only reader of the environment: the program's settings, frozen once read."""

from interaction_router.settings.kinds import format_duration, parse_duration
from interaction_router.settings.loading import Effective, Resolved, load_settings, resolve_settings
from interaction_router.settings.model import (
    AmiSettings,
    EmbeddedSettings,
    EslSettings,
    KafkaSettings,
    LogSettings,
    ReceiversHttpSettings,
    ReceiversSettings,
    ReceiversSpoolSettings,
    RedisSettings,
    Settings,
    TenantSettings,
    TopicsSettings,
    WorkerSettings,
)
from interaction_router.settings.problems import Place, Problem, SettingsError

__all__ = [
    "AmiSettings",
    "Effective",
    "EmbeddedSettings",
    "EslSettings",
    "KafkaSettings",
    "LogSettings",
    "Place",
    "Problem",
    "ReceiversHttpSettings",
    "ReceiversSettings",
    "ReceiversSpoolSettings",
    "RedisSettings",
    "Resolved",
    "Settings",
    "SettingsError",
    "TenantSettings",
    "TopicsSettings",
    "WorkerSettings",
    "format_duration",
    "load_settings",
    "parse_duration",
    "resolve_settings",
]
