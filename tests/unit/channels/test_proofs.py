"""Who is taken for a vendor: its own signature is, and the same with one bit changed is not."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import jwt
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from interaction_router.channels.kit import FORM, Request
from interaction_router.channels.vendors import VENDORS
from tests.unit.channels.asked import (
    CREDENTIALS,
    PUBLIC_KEY,
    RECEIVED_AT_MS,
    URL,
    asked,
    basic,
    form,
    mailgun_proof,
    multipart,
    posted,
    signed,
)

PROVEN: dict[str, Request] = {
    "twilio": signed("twilio", form({"CallSid": "CA1", "Body": "é +&=", "Empty": ""})),
    "whatsapp": signed("whatsapp", posted({"entry": []})),
    "vonage": signed("vonage", posted({"status": "answered"})),
    "infobip": signed("infobip", posted({"results": []})),
    "africastalking": signed("africastalking", form({"id": "1"})),
    "mailgun": form({"subject": "x", **mailgun_proof("t0ken")}),
    "sendgrid": signed("sendgrid", posted([{"event": "delivered"}])),
    "postmark": signed("postmark", posted({"RecordType": "Open"})),
    "kannel": signed("kannel", asked({"id": "1"})),
}
SIGNATURES = {
    "twilio": "x-twilio-signature",
    "whatsapp": "x-hub-signature-256",
    "sendgrid": "x-twilio-email-event-webhook-signature",
}
OF_THE_BODY = ["twilio", "whatsapp", "vonage", "sendgrid"]


def verdict(vendor: str, request: Request, **credentials: str) -> str:
    return VENDORS[vendor].check(request, {**CREDENTIALS[vendor], **credentials})


def with_header(request: Request, name: str, value: str) -> Request:
    return replace(request, headers={**request.headers, name: value})


def without(request: Request, *names: str) -> Request:
    return replace(request, headers={name: value for name, value in request.headers.items() if name not in names})


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_the_vendors_own_proof_is_taken(vendor: str) -> None:
    assert verdict(vendor, PROVEN[vendor]) == "authentic"


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor != "mailgun"])
def test_no_proof_is_missing_and_not_wrong(vendor: str) -> None:
    names = ("authorization", *SIGNATURES.values())
    assert verdict(vendor, without(PROVEN[vendor], *names)) == "missing"


@pytest.mark.parametrize("name", ["timestamp", "token", "signature"])
def test_a_mail_without_one_of_its_proofs_has_none(name: str) -> None:
    proof = {key: value for key, value in mailgun_proof("t0ken").items() if key != name}
    assert verdict("mailgun", form(proof)) == "missing"
    assert verdict("mailgun", posted({"signature": proof})) == "missing"


@pytest.mark.parametrize("vendor", OF_THE_BODY)
def test_one_bit_of_the_body_is_enough(vendor: str) -> None:
    request = PROVEN[vendor]
    for at in range(0, len(request.body), 3):
        body = bytearray(request.body)
        body[at] ^= 1
        assert verdict(vendor, replace(request, body=bytes(body))) == "wrong"


def _bits(signature: bytes) -> list[bytes]:
    return [
        bytes(byte ^ (1 << bit) if at == place else byte for at, byte in enumerate(signature))
        for place in range(len(signature))
        for bit in range(8)
    ]


@pytest.mark.parametrize("vendor", ["twilio", "sendgrid"])
def test_one_bit_of_a_signature_in_base64_is_enough(vendor: str) -> None:
    request = PROVEN[vendor]
    signature = base64.b64decode(request.headers[SIGNATURES[vendor]])
    for changed in _bits(signature)[:: 1 if vendor == "twilio" else 7]:
        other = with_header(request, SIGNATURES[vendor], base64.b64encode(changed).decode())
        assert verdict(vendor, other) == "wrong"


def _whatsapp(signature: bytes) -> Request:
    return with_header(PROVEN["whatsapp"], SIGNATURES["whatsapp"], f"sha256={signature.hex()}")


def _mailgun(signature: bytes) -> Request:
    return form({"subject": "x", **mailgun_proof("t0ken"), "signature": signature.hex()})


def _vonage(signature: bytes) -> Request:
    head, claims, _ = PROVEN["vonage"].headers["authorization"].split(".")
    text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    return with_header(PROVEN["vonage"], "authorization", f"{head}.{claims}.{text}")


def _vonage_signature() -> bytes:
    return base64.urlsafe_b64decode(PROVEN["vonage"].headers["authorization"].rpartition(".")[2] + "=")


@pytest.mark.parametrize(
    ("vendor", "with_signature", "signature"),
    [
        ("whatsapp", _whatsapp, bytes.fromhex(PROVEN["whatsapp"].headers["x-hub-signature-256"][7:])),
        ("mailgun", _mailgun, bytes.fromhex(mailgun_proof("t0ken")["signature"])),
        ("vonage", _vonage, _vonage_signature()),
    ],
    ids=["whatsapp", "mailgun", "vonage"],
)
def test_one_bit_of_a_signature_is_enough(
    vendor: str, with_signature: Callable[[bytes], Request], signature: bytes
) -> None:
    assert verdict(vendor, with_signature(signature)) == "authentic"
    for changed in _bits(signature):
        assert verdict(vendor, with_signature(changed)) == "wrong"


@pytest.mark.parametrize("vendor", ["infobip", "africastalking", "postmark", "kannel"])
@pytest.mark.parametrize("login", ["ann:secres", "anm:secret", "ann:", ":secret", "ann", "", "é:é"])
def test_another_name_or_password_is_wrong(vendor: str, login: str) -> None:
    assert verdict(vendor, with_header(PROVEN[vendor], "authorization", basic(login))) == "wrong"


@pytest.mark.parametrize("header", ["Bearer bearer-tokem", "Bearer", "Basic !", "Digest x", "x", "Basic " + "A" * 9])
def test_another_token_is_wrong(header: str) -> None:
    assert verdict("infobip", with_header(PROVEN["infobip"], "authorization", header)) == "wrong"


def test_a_token_is_as_good_as_a_password_where_it_is_set() -> None:
    request = with_header(PROVEN["infobip"], "authorization", "bearer bearer-token")
    assert verdict("infobip", request) == "authentic"
    assert verdict("postmark", request) == "wrong"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://hooks.example:443/v1/gateways/vendor/acme?a=1&b=%20",
        "http://hooks.example:8080/v1/gateways/vendor/acme",
    ],
)
def test_twilios_sdk_and_we_agree(url: str) -> None:
    """Also about a signature with the port of an address that has none, or without that of one that has."""
    fields = {"CallSid": "CA1", "To": "+27821234567"}
    bare = replace(form(fields), url=url)
    other = url.replace(":443", "") if ":443" in url else url.replace("hooks.example/", "hooks.example:443/")
    for signed_url in (url, other):
        signature = RequestValidator("secret").compute_signature(signed_url, fields)
        assert RequestValidator("secret").validate(url, fields, signature)
        assert verdict("twilio", with_header(bare, "x-twilio-signature", signature)) == "authentic"


def test_what_is_no_form_is_signed_by_its_address_alone() -> None:
    """It is refused for its type then, not for its signature; a form has to be signed whole."""
    body = replace(posted({"CallSid": "CA1"}), url=URL)
    bare = with_header(body, "x-twilio-signature", RequestValidator("secret").compute_signature(URL, {}))
    assert verdict("twilio", bare) == "authentic"
    assert verdict("twilio", with_header(bare, "content-type", FORM)) == "wrong"
    assert verdict("twilio", with_header(bare, "x-twilio-signature", "wrong")) == "wrong"


def test_a_get_of_twilio_is_signed_by_its_address() -> None:
    request = asked({"CallSid": "CA1", "CallStatus": "ringing"})
    signature = RequestValidator("secret").compute_signature(request.url, {})
    assert verdict("twilio", with_header(request, "x-twilio-signature", signature)) == "authentic"
    elsewhere = replace(request, url=request.url + "&From=1")
    assert verdict("twilio", with_header(elsewhere, "x-twilio-signature", signature)) == "wrong"


def _token(body: bytes, *, algorithm: str = "HS256", secret: str | None = None, **claims: object) -> str:
    told = {"payload_hash": sha256(body).hexdigest(), **claims}
    key = CREDENTIALS["vonage"]["signature_secret"] if secret is None else secret
    return jwt.encode({name: value for name, value in told.items() if value is not None}, key, algorithm=algorithm)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, "authentic"),
        ({"iat": 1}, "authentic"),
        ({"exp": RECEIVED_AT_MS // 1000 + 60}, "authentic"),
        ({"exp": RECEIVED_AT_MS // 1000 - 60}, "wrong"),
        ({"payload_hash": None}, "wrong"),
        ({"payload_hash": "0" * 64}, "wrong"),
        ({"algorithm": "HS512", "secret": "x" * 64}, "wrong"),
        ({"algorithm": "none", "secret": ""}, "wrong"),
        ({"secret": "another secret of thirty-two chars"}, "wrong"),
    ],
)
def test_a_web_token_vouches_for_this_body_with_this_secret(claims: dict[str, object], expected: str) -> None:
    request = posted({"status": "answered"})
    token = _token(request.body, **claims)  # type: ignore[arg-type]  # a table
    assert verdict("vonage", with_header(request, "authorization", f"Bearer {token}")) == expected


def test_another_algorithm_with_the_right_secret_is_wrong() -> None:
    request = posted({"status": "answered"})
    token = _token(request.body, algorithm="HS512", secret="a secret of thirty-two characters" * 2)
    assert verdict("vonage", with_header(request, "authorization", f"Bearer {token}")) == "wrong"


def test_the_header_of_a_token_may_name_no_other_algorithm() -> None:
    """Also where the signature is right: nobody signs so."""
    request = posted({"status": "answered"})
    secret = CREDENTIALS["vonage"]["signature_secret"].encode()
    claims = _token(request.body).split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    signature = hmac.new(secret, f"{head}.{claims}".encode(), sha256).digest()
    token = f"{head}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert verdict("vonage", with_header(request, "authorization", f"Bearer {token}")) == "wrong"


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "....", "é.é.é", "a" * 20_000])
def test_what_is_no_web_token_is_wrong(token: str) -> None:
    assert verdict("vonage", with_header(PROVEN["vonage"], "authorization", f"Bearer {token}")) == "wrong"


def test_sendgrids_sdk_and_we_agree() -> None:
    request = PROVEN["sendgrid"]
    webhook = EventWebhook()
    key = webhook.convert_public_key_to_ecdsa(PUBLIC_KEY)
    signature, timestamp = (
        request.headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp")
    )
    assert webhook.verify_signature(request.body.decode(), signature, timestamp, key)
    assert verdict("sendgrid", request) == "authentic"
    assert verdict("sendgrid", with_header(request, "x-twilio-email-event-webhook-timestamp", "1700000001")) == "wrong"


def test_events_of_sendgrid_have_to_be_signed_also_where_the_password_is_right() -> None:
    unsigned = with_header(posted([{"event": "delivered"}]), "authorization", basic("ann:secret"))
    assert verdict("sendgrid", unsigned) == "missing"
    assert verdict("sendgrid", with_header(multipart({}), "authorization", basic("ann:secret"))) == "authentic"
    assert verdict("sendgrid", with_header(multipart({}), "authorization", basic("ann:secres"))) == "wrong"


@pytest.mark.parametrize("key", ["", "!", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_public_key_that_is_none_takes_nothing(key: str) -> None:
    assert verdict("sendgrid", PROVEN["sendgrid"], public_key=key) == "wrong"


def test_a_public_key_in_pem_is_taken() -> None:
    pem = f"-----BEGIN PUBLIC KEY-----\n{PUBLIC_KEY}\n-----END PUBLIC KEY-----\n"
    assert verdict("sendgrid", PROVEN["sendgrid"], public_key=pem) == "authentic"


def test_a_challenge_is_answered_to_who_knows_the_token() -> None:
    told = {"hub.mode": "subscribe", "hub.verify_token": "agreed", "hub.challenge": "1158201444"}
    vendor = VENDORS["whatsapp"]
    assert vendor.challenge is not None
    assert (verdict("whatsapp", asked(told)), vendor.challenge(asked(told))) == ("authentic", "1158201444")
    assert verdict("whatsapp", asked({**told, "hub.verify_token": "agreee"})) == "wrong"
    assert verdict("whatsapp", asked({**told, "hub.mode": "other"})) == "wrong"
    assert verdict("whatsapp", asked({})) == "missing"
