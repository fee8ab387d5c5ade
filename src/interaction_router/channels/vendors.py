"""Which vendors there are. A vendor is one file here, one line in `VENDORS`, and a table of payloads in the tests."""

from typing import Final

from interaction_router.channels import (
    africastalking,
    infobip,
    json_gateway,
    kannel,
    mailgun,
    postmark,
    sendgrid,
    twilio,
    vonage,
    whatsapp,
)
from interaction_router.channels.kit import Vendor

VENDORS: Final[dict[str, Vendor]] = {
    "twilio": twilio.VENDOR,
    "whatsapp": whatsapp.VENDOR,
    "vonage": vonage.VENDOR,
    "infobip": infobip.VENDOR,
    "africastalking": africastalking.VENDOR,
    "mailgun": mailgun.VENDOR,
    "sendgrid": sendgrid.VENDOR,
    "postmark": postmark.VENDOR,
    "kannel": kannel.VENDOR,
}

JSON_GATEWAY: Final = "json"

KEYS: Final[dict[str, frozenset[str]]] = {
    JSON_GATEWAY: json_gateway.KEYS,
    **{name: vendor.keys for name, vendor in VENDORS.items()},
}
"""The settings that each vendor has, as `tenants.<tenant>.gateways.<vendor>.<key>`."""
