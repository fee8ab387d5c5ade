"""Requests as vendors make them, and signed as they sign."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twilio.request_validator import RequestValidator

from interaction_router.channels.kit import FORM, JSON, Credentials, Request

URL = "https://hooks.example/v1/gateways/vendor/acme"
RECEIVED_AT_MS = 1_790_000_000_000
RECEIVED_AT = "2026-09-21T14:13:20.000Z"
BOUNDARY = "b0undary"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

CREDENTIALS: Mapping[str, Credentials] = {
    "twilio": {"auth_token": "secret"},
    "whatsapp": {"app_secret": "secret", "verify_token": "agreed"},
    "vonage": {"signature_secret": "a secret of thirty-two characters"},
    "infobip": {"username": "ann", "password": "secret", "token": "bearer-token"},
    "africastalking": {"username": "ann", "password": "secret"},
    "mailgun": {"signing_key": "secret"},
    "sendgrid": {"username": "ann", "password": "secret", "public_key": PUBLIC_KEY},
    "postmark": {"username": "ann", "password": "secret"},
    "kannel": {"username": "ann", "password": "secret"},
    "json": {"token": "bearer-token"},
}


def form(fields: Mapping[str, str]) -> Request:
    return Request("POST", URL, {"content-type": FORM}, urlencode(fields).encode(), RECEIVED_AT_MS)


def posted(value: Any) -> Request:  # Any: JSON
    return Request("POST", URL, {"content-type": JSON}, orjson.dumps(value), RECEIVED_AT_MS)


def asked(fields: Mapping[str, str]) -> Request:
    return Request("GET", f"{URL}?{urlencode(fields)}", {}, b"", RECEIVED_AT_MS)


def multipart(fields: Mapping[str, str | bytes], files: Sequence[tuple[str, str, bytes]] = ()) -> Request:
    parts = [
        (f'form-data; name="{name}"', "", value.encode() if isinstance(value, str) else value)
        for name, value in fields.items()
    ]
    parts += [
        (f'form-data; name="attachment-{number}"; filename="{name}"', f"Content-Type: {kind}\r\n", content)
        for number, (name, kind, content) in enumerate(files, 1)
    ]
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: {about}\r\n{kind}\r\n".encode() + content + b"\r\n"
        for about, kind, content in parts
    )
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return Request("POST", URL, headers, body + f"--{BOUNDARY}--\r\n".encode(), RECEIVED_AT_MS)


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def signed(vendor: str, request: Request) -> Request:
    """Return the request with the vendor's own proof, made by its SDK where there is one."""
    match vendor:
        case "twilio":
            fields = dict(pair.split("=", 1) for pair in request.body.decode().split("&") if pair)
            proof = {"x-twilio-signature": _twilio(request, fields)}
        case "whatsapp":
            digest = hmac.new(b"secret", request.body, sha256).hexdigest()
            proof = {"x-hub-signature-256": f"sha256={digest}"}
        case "vonage":
            claims = {"iat": 1, "payload_hash": sha256(request.body).hexdigest()}
            token = jwt.encode(claims, CREDENTIALS["vonage"]["signature_secret"], algorithm="HS256")
            proof = {"authorization": f"Bearer {token}"}
        case "sendgrid" if request.media_type == JSON:
            signature = KEY.sign(b"1700000000" + request.body, ec.ECDSA(SHA256()))
            proof = {
                "x-twilio-email-event-webhook-timestamp": "1700000000",
                "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
            }
        case "json":
            proof = {"authorization": "Bearer bearer-token"}
        case _:
            proof = {"authorization": basic("ann:secret")}
    return replace(request, headers={**request.headers, **proof})


def _twilio(request: Request, fields: Mapping[str, str]) -> str:
    from urllib.parse import unquote_plus  # noqa: PLC0415

    told = {unquote_plus(name): unquote_plus(value) for name, value in fields.items()}
    signature: str = RequestValidator("secret").compute_signature(request.url, told)
    return signature


def mailgun_proof(token: str) -> dict[str, str]:
    signature = hmac.new(b"secret", f"1700000000{token}".encode(), sha256).hexdigest()
    return {"timestamp": "1700000000", "token": token, "signature": signature}
