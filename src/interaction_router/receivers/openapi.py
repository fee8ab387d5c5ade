"""How the JSON gateway and the outbound gate are told in OpenAPI: their bodies are read by our own rules, not FastAPI's."""

from typing import Any, Final

Described = dict[str, Any]  # Any: OpenAPI's JSON

_ADDRESS: Final[Described] = {
    "anyOf": [
        {"type": "string", "maxLength": 512},
        {
            "type": "object",
            "properties": {"address": {"type": ["string", "null"]}, "name": {"type": ["string", "null"]}},
        },
        {"type": "null"},
    ]
}
_TEXT: Final[Described] = {"type": ["string", "null"]}
_INTERACTION: Final[Described] = {
    "type": "object",
    "required": ["channel", "direction", "interaction_id", "occurred_at", "from", "to"],
    "properties": {
        "tenant": {"type": "string", "description": "That of the address, or left out."},
        "channel": {"type": "string", "examples": ["voice", "email", "sms", "whatsapp", "chat"]},
        "direction": {"enum": ["inbound", "outbound"]},
        "interaction_id": {"type": "string", "minLength": 1, "maxLength": 512},
        "occurred_at": {"type": "string", "format": "date-time"},
        "from": _ADDRESS,
        "to": {"anyOf": [*_ADDRESS["anyOf"], {"type": "array", "maxItems": 100, "items": _ADDRESS}]},
        "status": {
            "description": "Of a call ringing, answered, ended, missed, failed, cancelled; else the last six.",
            "enum": [
                *("ringing", "answered", "ended", "missed", "failed", "cancelled"),
                *("received", "queued", "sent", "delivered", "read"),
            ],
        },
        "event_id": {**_TEXT, "maxLength": 512},
        "region": {**_TEXT, "description": "ISO 3166-1 alpha-2, for national numbers."},
        "agent_id": {**_TEXT, "maxLength": 512},
        **dict.fromkeys(("subject", "text", "html", "recording_url", "provider"), _TEXT),
        "attachments": {
            "type": ["array", "null"],
            "maxItems": 100,
            "items": {
                "type": "object",
                "properties": {"name": _TEXT, "content_type": _TEXT, "size": {"type": "integer"}, "url": _TEXT},
            },
        },
        "references": {"type": ["array", "null"], "maxItems": 100, "items": {"type": "string"}},
        "duration_s": {"type": ["number", "null"], "minimum": 0},
        "auto_response": {"type": ["boolean", "null"]},
        "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": True,
}
_TAKEN: Final[Described] = {"type": "object", "properties": {"status": {"const": "taken"}}}
_FAULT: Final[Described] = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "field": _TEXT, "message": {"type": "string"}},
}
_RESULTS: Final[Described] = {
    "type": "object",
    "properties": {"results": {"type": "array", "items": {"anyOf": [_TAKEN, _FAULT]}}},
}
_OUTLOOK: Final[Described] = {
    "type": "object",
    "properties": {
        "allowed": {"type": "boolean"},
        "code": {"enum": ["agent_unknown", "agent_not_qualified", None]},
        "endpoint": {"type": "string"},
        "rule": {"enum": ["joined_open_conversation", "opened_for_contact", "opened_unlinked"]},
        **dict.fromkeys(("contact_id", "conversation_id", "previous_conversation_id"), _TEXT),
    },
}
_QUESTION: Final[Described] = {
    "type": "object",
    "required": ["tenant", "channel", "party"],
    "properties": {
        "tenant": {"type": "string"},
        "agent_id": _TEXT,
        "channel": {"type": "string"},
        "party": {"type": "string", "maxLength": 512},
    },
}


def _body(schema: Described) -> Described:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(text: str, schema: Described | None = None) -> Described:
    return {"description": text, **({} if schema is None else {"content": {"application/json": {"schema": schema}}})}


_REFUSED: Final = {
    "401": _answer("No token.", _FAULT),
    "403": _answer("The wrong token, or an item of another tenant.", _FAULT),
    "404": _answer("No such tenant, or no JSON gateway of it.", _FAULT),
    "413": _answer("Over 10 MiB, or over 1,000 items: none taken.", _FAULT),
    "415": _answer("Not application/json.", _FAULT),
    "422": _answer("It breaks a rule, which `code` and `field` name.", _FAULT),
    "503": _answer("Nothing can be stored: send it again after `Retry-After` seconds.", _FAULT),
}
_SECURED: Final[Described] = {"security": [{"bearer": []}]}

JSON_GATEWAY: Final[Described] = {
    "summary": "Take a raw interaction, or a list of up to 1,000",
    "tags": ["gateways"],
    "response_model": None,
    "openapi_extra": {
        **_SECURED,
        "parameters": [
            {"name": "tenant", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The `event_id` where none is given; of a list `<key>/<index>`.",
                "schema": {"type": "string", "maxLength": 512},
            },
        ],
        "requestBody": _body({"anyOf": [_INTERACTION, {"type": "array", "maxItems": 1000, "items": _INTERACTION}]}),
        "responses": {
            "200": _answer("All taken.", {"anyOf": [_TAKEN, _RESULTS]}),
            "207": _answer("Of a list some taken.", _RESULTS),
            **_REFUSED,
        },
    },
}
"""How the route of the JSON gateway is added."""

GATE: Final[Described] = {
    "summary": "Ask whether an agent may use a channel, and which conversation it would join",
    "tags": ["outbound"],
    "response_model": None,
    "openapi_extra": {
        **_SECURED,
        "requestBody": _body(_QUESTION),
        "responses": {"200": _answer("What would become of it now.", _OUTLOOK), **_REFUSED},
    },
}
"""How the route of the outbound gate is added."""

SECURITY: Final[Described] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The tenant's `tenants.<tenant>.gateways.json.token`.",
    }
}
