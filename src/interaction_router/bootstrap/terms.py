"""What of the settings the application takes, in its own words."""

from collections.abc import Mapping

from interaction_router.application.intake import AGENTS, COMMANDS, CONTACTS, IntakeSettings, TenantSettings
from interaction_router.application.outcomes import OUTCOMES
from interaction_router.application.snapshots import SNAPSHOTS
from interaction_router.application.views import DEAD_LETTERS, LOG, STATE, UPDATES
from interaction_router.channels.kit import Credentials
from interaction_router.domain.rows import Policy
from interaction_router.settings import Settings
from interaction_router.wire.addresses import canonical_contact_address, canonical_own_addresses


def policy_of(settings: Settings) -> Policy:
    """Return the settings that decide, as the log has them."""
    return Policy(
        dedup_window_ms=int(settings.dedup_window.total_seconds() * 1000),
        late_grace_ms=int(settings.late_grace.total_seconds() * 1000),
        idle_close_ms={
            channel: int(span.total_seconds() * 1000)
            for channel, span in sorted(settings.idle_close.items())
            if span is not None
        },
        closed_retention_ms=None
        if settings.closed_retention is None
        else int(settings.closed_retention.total_seconds() * 1000),
    )


def intake_settings(settings: Settings) -> IntakeSettings:
    """Return what raw records are read with."""
    tenants = {
        name: TenantSettings(
            tenant.region, canonical_own_addresses(tenant.addresses, tenant.region or settings.default_region)
        )
        for name, tenant in settings.tenants.items()
    }
    return IntakeSettings(
        namespace=settings.namespace,
        channels=settings.channels,
        default_region=settings.default_region,
        tenants=tenants,
        unqualified=settings.unqualified,
        inputs=settings.inputs_namespace,
    )


def endpoint_of(settings: Settings, tenant: str, address: str) -> str:
    """Return the endpoint that an address means to a person of this tenant.

    Raises:
        RejectedError: `address_invalid`.
    """
    return canonical_contact_address(address, intake_settings(settings).region(tenant), field="address")


def credentials_of(settings: Settings) -> Mapping[str, Mapping[str, Credentials]]:
    """Return what each tenant's gateways are authentic by."""
    return {
        name: {
            vendor: {key: secret.get_secret_value() for key, secret in keys.items()}
            for vendor, keys in tenant.gateways.items()
        }
        for name, tenant in settings.tenants.items()
    }


def raw_streams(settings: Settings) -> tuple[str, ...]:
    """Return the streams that intake reads."""
    return (*(f"interactions.{channel}.v1" for channel in settings.channels), CONTACTS, COMMANDS)


def streams(settings: Settings) -> tuple[str, ...]:
    """Return every stream that a router needs."""
    return (*raw_streams(settings), AGENTS, LOG, OUTCOMES, UPDATES, STATE, DEAD_LETTERS, SNAPSHOTS)
