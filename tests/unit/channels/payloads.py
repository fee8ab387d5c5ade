"""The table: what each vendor's payload becomes. A new channel adds its rows here and passes every suite of the folder."""

from dataclasses import dataclass
from typing import Any

import orjson

from interaction_router.channels.kit import Request
from tests.unit.channels.asked import RECEIVED_AT, asked, form, multipart, posted

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True)
class Row:
    vendor: str
    name: str
    request: Request
    expected: list[Json]
    unread: bool = False

    @property
    def id(self) -> str:
        return f"{self.vendor}: {self.name}"


CALL = {
    "CallSid": "CA1",
    "AccountSid": "AC1",
    "From": "+27821234567",
    "To": "+27110000000",
    "Direction": "inbound",
    "ApiVersion": "2010-04-01",
}
CALLED = {
    "channel": "voice",
    "direction": "inbound",
    "interaction_id": "CA1",
    "occurred_at": RECEIVED_AT,
    "from": "+27821234567",
    "to": "+27110000000",
    "provider": "twilio",
}
MESSAGE = {"MessageSid": "SM1", "From": "+27821234567", "To": "+27110000000", "Body": "hello", "NumMedia": "0"}
MESSAGED = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "SM1",
    "status": "received",
    "occurred_at": RECEIVED_AT,
    "from": "+27821234567",
    "to": "+27110000000",
    "text": "hello",
    "provider": "twilio",
}


def twilio_status(word: str, status: str) -> Row:
    return Row("twilio", f"a call that is {word}", form({**CALL, "CallStatus": word}), [{**CALLED, "status": status}])


TWILIO = [
    *(
        twilio_status(word, status)
        for word, status in {
            "queued": "ringing",
            "initiated": "ringing",
            "ringing": "ringing",
            "in-progress": "answered",
            "no-answer": "missed",
            "busy": "missed",
            "canceled": "cancelled",
            "failed": "failed",
        }.items()
    ),
    Row(
        "twilio",
        "a call out that has ended",
        form(
            {
                **CALL,
                "CallStatus": "completed",
                "Direction": "outbound-api",
                "CallDuration": "49",
                "Duration": "1",
                "Timestamp": "Sun, 25 Mar 2018 09:53:19 +0000",
            }
        ),
        [
            {
                **CALLED,
                "direction": "outbound",
                "status": "ended",
                "duration_s": 49,
                "occurred_at": "2018-03-25T09:53:19.000Z",
            }
        ],
    ),
    Row(
        "twilio",
        "a withheld caller",
        form({**CALL, "From": "+266696687", "CallStatus": "ringing"}),
        [{**CALLED, "from": None, "status": "ringing"}],
    ),
    Row(
        "twilio",
        "a withheld caller without the plus",
        form({**CALL, "From": "7378742833", "CallStatus": "ringing"}),
        [{**CALLED, "from": None, "status": "ringing"}],
    ),
    Row(
        "twilio",
        "a caller that is only in Caller",
        form({"CallSid": "CA1", "Caller": "+27821234567", "Called": "+27110000000", "CallStatus": "queued"}),
        [{**CALLED, "status": "ringing"}],
    ),
    Row(
        "twilio",
        "a recording",
        form(
            {
                "CallSid": "CA1",
                "RecordingSid": "RE1",
                "RecordingUrl": "https://api.example/RE1",
                "RecordingStatus": "completed",
                "RecordingDuration": "42",
            }
        ),
        [
            {
                **CALLED,
                "from": None,
                "to": None,
                "status": "answered",
                "event_id": "RE1",
                "recording_url": "https://api.example/RE1",
                "metadata": {"recording_duration_s": "42"},
            }
        ],
    ),
    Row("twilio", "a recording that is none yet", form({"CallSid": "CA1", "RecordingStatus": "absent"}), []),
    Row("twilio", "a status nobody knows", form({**CALL, "CallStatus": "levitating"}), [], unread=True),
    Row("twilio", "neither call nor message", form({"AccountSid": "AC1"}), [], unread=True),
    Row("twilio", "an SMS", form({**MESSAGE, "SmsStatus": "received"}), [MESSAGED]),
    Row(
        "twilio",
        "a WhatsApp message with an image",
        form(
            {
                **MESSAGE,
                "From": "whatsapp:+27821234567",
                "To": "whatsapp:+27110000000",
                "NumMedia": "1",
                "MediaUrl0": "https://api.example/ME1",
                "MediaContentType0": "image/jpeg",
            }
        ),
        [
            {
                **MESSAGED,
                "channel": "whatsapp",
                "attachments": [{"content_type": "image/jpeg", "url": "https://api.example/ME1"}],
            }
        ],
    ),
    Row(
        "twilio",
        "a message that cannot be delivered",
        form(
            {
                "MessageSid": "SM1",
                "From": "+27110000000",
                "To": "+27821234567",
                "MessageStatus": "undelivered",
                "ErrorCode": "30003",
            }
        ),
        [
            {
                "channel": "sms",
                "direction": "outbound",
                "interaction_id": "SM1",
                "status": "failed",
                "occurred_at": RECEIVED_AT,
                "from": "+27110000000",
                "to": "+27821234567",
                "provider": "twilio",
                "metadata": {"error_code": "30003"},
            }
        ],
    ),
    Row(
        "twilio",
        "an SMS that was asked for",
        asked({**MESSAGE, "SmsStatus": "received"}),
        [MESSAGED],
    ),
]


def whatsapp(**value: Any) -> Request:
    metadata = {"display_phone_number": "1 555-079-8077", "phone_number_id": "1038"}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
    return posted({"object": "whatsapp_business_account", "entry": [{"id": "1037", "changes": [change]}]})


WA_MESSAGE = {"from": "27821234567", "id": "wamid.1", "timestamp": "1660823417", "type": "text", "text": {"body": "hi"}}
WA_CONTACTS = [{"profile": {"name": "Ann"}, "wa_id": "27821234567"}]
WA_MESSAGED = {
    "channel": "whatsapp",
    "direction": "inbound",
    "interaction_id": "wamid.1",
    "status": "received",
    "occurred_at": "2022-08-18T11:50:17.000Z",
    "from": {"address": "+27821234567", "name": "Ann"},
    "to": "+15550798077",
    "text": "hi",
    "provider": "whatsapp",
    "metadata": {"type": "text"},
}
WA_STATUS = {"id": "wamid.2", "status": "delivered", "timestamp": "1660823417", "recipient_id": "27821234567"}
WA_STATUSED = {
    "channel": "whatsapp",
    "direction": "outbound",
    "interaction_id": "wamid.2",
    "status": "delivered",
    "occurred_at": "2022-08-18T11:50:17.000Z",
    "from": "+15550798077",
    "to": "+27821234567",
    "provider": "whatsapp",
}
WHATSAPP = [
    Row("whatsapp", "a text", whatsapp(messages=[WA_MESSAGE], contacts=WA_CONTACTS), [WA_MESSAGED]),
    Row(
        "whatsapp",
        "an image with a caption, in answer to another",
        whatsapp(
            messages=[
                {
                    **{name: WA_MESSAGE[name] for name in ("from", "id", "timestamp")},
                    "type": "image",
                    "image": {"mime_type": "image/jpeg", "id": "6465", "caption": "look"},
                    "context": {"id": "wamid.0"},
                }
            ]
        ),
        [
            {
                **WA_MESSAGED,
                "from": "+27821234567",
                "text": "look",
                "attachments": [{"content_type": "image/jpeg", "id": "6465"}],
                "references": ["wamid.0"],
                "metadata": {"type": "image"},
            }
        ],
    ),
    Row(
        "whatsapp",
        "a user without a number",
        whatsapp(messages=[{**WA_MESSAGE, "from": "ZA.13491208655302741918"}]),
        [{**WA_MESSAGED, "from": "ZA.13491208655302741918"}],
    ),
    Row("whatsapp", "a status", whatsapp(statuses=[WA_STATUS]), [WA_STATUSED]),
    Row(
        "whatsapp",
        "a status that failed",
        whatsapp(statuses=[{**WA_STATUS, "status": "failed", "errors": [{"code": 131026}]}]),
        [{**WA_STATUSED, "status": "failed", "metadata": {"error_code": "131026"}}],
    ),
    Row("whatsapp", "a status that is no event", whatsapp(statuses=[{**WA_STATUS, "status": "deleted"}]), []),
    Row("whatsapp", "a change that is no message", whatsapp(event="APPROVED"), []),
    Row(
        "whatsapp",
        "a batch of which one makes no sense",
        whatsapp(messages=[WA_MESSAGE, {"from": "1"}, 7], contacts=WA_CONTACTS, statuses=[WA_STATUS]),
        [WA_MESSAGED, WA_STATUSED],
        unread=True,
    ),
    Row("whatsapp", "JSON of somebody else", posted({"hello": 1}), [], unread=True),
]

VOICE = {
    "uuid": "63f6",
    "conversation_uuid": "CON-1",
    "from": "27821234567",
    "to": "27110000000",
    "direction": "inbound",
    "timestamp": "2020-01-01T12:00:01.000Z",
}
VOICED = {
    "channel": "voice",
    "direction": "inbound",
    "interaction_id": "63f6",
    "occurred_at": "2020-01-01T12:00:01.000Z",
    "from": "+27821234567",
    "to": "+27110000000",
    "provider": "vonage",
}
VONAGE = [
    *(
        Row("vonage", f"a call that is {word}", posted({**VOICE, "status": word}), [{**VOICED, "status": status}])
        for word, status in {
            "started": "ringing",
            "ringing": "ringing",
            "answered": "answered",
            "unanswered": "missed",
            "timeout": "missed",
            "busy": "missed",
            "rejected": "missed",
            "cancelled": "cancelled",
            "failed": "failed",
        }.items()
    ),
    Row(
        "vonage",
        "a call out that has ended",
        posted({**VOICE, "status": "completed", "direction": "outbound", "duration": "60", "price": "23.40"}),
        [{**VOICED, "status": "ended", "direction": "outbound", "duration_s": 60}],
    ),
    Row("vonage", "a transfer", posted({**VOICE, "status": ""}), []),
    Row("vonage", "a machine that answers", posted({**VOICE, "status": "machine"}), []),
    Row(
        "vonage",
        "a recording",
        posted(
            {
                "recording_url": "https://api.example/1",
                "recording_uuid": "aaaa",
                "conversation_uuid": "CON-1",
                "timestamp": "2020-01-01T12:02:00.000Z",
            }
        ),
        [
            {
                **VOICED,
                "interaction_id": "CON-1",
                "from": None,
                "to": None,
                "status": "answered",
                "event_id": "aaaa",
                "recording_url": "https://api.example/1",
                "occurred_at": "2020-01-01T12:02:00.000Z",
            }
        ],
    ),
    Row(
        "vonage",
        "an SMS",
        posted(
            {
                "message_uuid": "m1",
                "channel": "sms",
                "message_type": "text",
                "from": "27821234567",
                "to": "27110000000",
                "text": "hi",
                "timestamp": "2020-01-01T12:00:00Z",
            }
        ),
        [
            {
                **VOICED,
                "channel": "sms",
                "interaction_id": "m1",
                "status": "received",
                "text": "hi",
                "occurred_at": "2020-01-01T12:00:00.000Z",
            }
        ],
    ),
    Row(
        "vonage",
        "a WhatsApp message that was rejected",
        posted(
            {
                "message_uuid": "m1",
                "channel": "whatsapp",
                "from": "27110000000",
                "to": "27821234567",
                "status": "rejected",
                "error": {"title": "Rejected"},
            }
        ),
        [
            {
                "channel": "whatsapp",
                "direction": "outbound",
                "interaction_id": "m1",
                "status": "failed",
                "occurred_at": RECEIVED_AT,
                "from": "+27110000000",
                "to": "+27821234567",
                "provider": "vonage",
                "metadata": {"error": "Rejected"},
            }
        ],
    ),
    Row("vonage", "an event of nothing", posted({"status": "answered"}), [], unread=True),
    Row("vonage", "no JSON", form({"status": "answered"}), [], unread=True),
]

INFOBIP_IN = {
    "messageId": "8177",
    "from": "27821234567",
    "to": "27110000000",
    "text": "QUIZ Paris",
    "cleanText": "Paris",
    "receivedAt": "2016-10-06T09:28:39.220+0200",
}
INFOBIP_REPORT = {
    "messageId": "8178",
    "to": "27821234567",
    "doneAt": "2019-11-09T16:00:00.000+0000",
    "status": {"groupId": 3, "groupName": "DELIVERED"},
    "error": {"groupName": "Ok", "name": "NO_ERROR"},
}
INFOBIP_MESSAGED = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "8177",
    "status": "received",
    "occurred_at": "2016-10-06T07:28:39.220Z",
    "from": "+27821234567",
    "to": "+27110000000",
    "text": "QUIZ Paris",
    "provider": "infobip",
}
INFOBIP_REPORTED = {
    "channel": "sms",
    "direction": "outbound",
    "interaction_id": "8178",
    "status": "delivered",
    "occurred_at": "2019-11-09T16:00:00.000Z",
    "from": None,
    "to": "+27821234567",
    "provider": "infobip",
}
INFOBIP = [
    Row("infobip", "an SMS", posted({"results": [INFOBIP_IN], "messageCount": 1}), [INFOBIP_MESSAGED]),
    Row(
        "infobip",
        "an SMS of a short code",
        posted({"results": [{**INFOBIP_IN, "from": "45678"}]}),
        [{**INFOBIP_MESSAGED, "from": "45678"}],
    ),
    Row("infobip", "a report", posted({"results": [INFOBIP_REPORT]}), [INFOBIP_REPORTED]),
    *(
        Row(
            "infobip",
            f"a report of {word}",
            posted({"results": [{**INFOBIP_REPORT, "status": {"groupName": word}}]}),
            [
                {
                    **INFOBIP_REPORTED,
                    "status": status,
                    **({"metadata": {"error": "NO_ERROR"}} if status == "failed" else {}),
                }
            ],
        )
        for word, status in {
            "PENDING": "queued",
            "UNDELIVERABLE": "failed",
            "EXPIRED": "failed",
            "REJECTED": "failed",
        }.items()
    ),
    Row(
        "infobip",
        "a batch of which one makes no sense",
        posted({"results": [{}, INFOBIP_REPORT]}),
        [INFOBIP_REPORTED],
        unread=True,
    ),
    Row("infobip", "no results", posted([]), [], unread=True),
]

AFRICASTALKING_IN = {
    "id": "AT1",
    "from": "+27821234567",
    "to": "45678",
    "text": "hi",
    "date": "2026-01-01 10:00:00",
    "linkId": "L1",
}
AFRICASTALKING = [
    Row(
        "africastalking",
        "an SMS",
        form(AFRICASTALKING_IN),
        [
            {
                "channel": "sms",
                "direction": "inbound",
                "interaction_id": "AT1",
                "status": "received",
                "occurred_at": "2026-01-01T10:00:00.000Z",
                "from": "+27821234567",
                "to": "45678",
                "text": "hi",
                "provider": "africastalking",
            }
        ],
    ),
    *(
        Row(
            "africastalking",
            f"a report of {word}",
            form({"id": "AT1", "status": word, "phoneNumber": "+27821234567", "networkCode": "65501"}),
            [
                {
                    "channel": "sms",
                    "direction": "outbound",
                    "interaction_id": "AT1",
                    "status": status,
                    "occurred_at": RECEIVED_AT,
                    "from": None,
                    "to": "+27821234567",
                    "provider": "africastalking",
                }
            ],
        )
        for word, status in {
            "Sent": "sent",
            "Submitted": "sent",
            "Buffered": "queued",
            "Success": "delivered",
            "Rejected": "failed",
            "Failed": "failed",
        }.items()
    ),
    Row("africastalking", "no id", form({"from": "+27821234567"}), [], unread=True),
]

KANNEL_IN = {"id": "k1", "from": "+27821234567", "to": "45678", "text": "hi", "ts": "1700000000"}
KANNEL_MESSAGED = {
    "channel": "sms",
    "direction": "inbound",
    "interaction_id": "k1",
    "status": "received",
    "occurred_at": "2023-11-14T22:13:20.000Z",
    "from": "+27821234567",
    "to": "45678",
    "text": "hi",
    "provider": "kannel",
}
KANNEL = [
    Row("kannel", "an SMS by GET", asked(KANNEL_IN), [KANNEL_MESSAGED]),
    Row("kannel", "an SMS by POST", form(KANNEL_IN), [KANNEL_MESSAGED]),
    Row(
        "kannel",
        "a national number",
        asked({**KANNEL_IN, "from": "0821234567"}),
        [{**KANNEL_MESSAGED, "from": "0821234567"}],
    ),
    *(
        Row(
            "kannel",
            f"a report of {word}",
            asked({"id": "k2", "from": "45678", "to": "+27821234567", "status": word, "ts": "1700000000"}),
            [
                {
                    "channel": "sms",
                    "direction": "outbound",
                    "interaction_id": "k2",
                    "status": status,
                    "occurred_at": "2023-11-14T22:13:20.000Z",
                    "from": "45678",
                    "to": "+27821234567",
                    "provider": "kannel",
                }
            ],
        )
        for word, status in {"1": "delivered", "2": "failed", "4": "queued", "8": "sent", "16": "failed"}.items()
    ),
    Row("kannel", "a status nobody knows", asked({"id": "k2", "status": "3"}), [], unread=True),
    Row("kannel", "no id", asked({"from": "+27821234567"}), [], unread=True),
]

MAILED = {
    "channel": "email",
    "direction": "inbound",
    "interaction_id": "m1@mail.example",
    "status": "received",
    "occurred_at": "2017-10-12T01:31:04.000Z",
    "from": {"address": "ann@example.org", "name": "Ann Ox"},
    "to": [{"address": "help@acme.example", "name": "Help"}, "other@acme.example"],
    "subject": "Broken",
    "text": "It is.",
    "html": "<p>It is.</p>",
    "references": ["m0@mail.example"],
    "cc": ["cc@acme.example"],
}


def without_html(mail: Json) -> Json:
    return {name: value for name, value in mail.items() if name != "html"}


MAIL_HEADERS = {
    "From": '"Ann Ox" <ann@example.org>',
    "Date": "Wed, 11 Oct 2017 18:31:04 -0700",
    "Message-Id": "<m1@mail.example>",
    "Subject": "Broken",
    "To": "Help <help@acme.example>, other@acme.example",
    "Cc": "cc@acme.example",
    "In-Reply-To": "<m0@mail.example>",
}
WHOLE_MAIL = "".join(f"{name}: {value}\r\n" for name, value in MAIL_HEADERS.items()) + (
    "Content-Type: text/plain\r\n\r\nI see.\r\n\r\nOn Monday, Help wrote:\r\n> Is it?\r\n"
)
WHOLE_MAILED = {
    "text": "I see.\n\nOn Monday, Help wrote:\n> Is it?",
    "reply": "I see.",
}
MAILGUN_IN = {
    "recipient": "help@acme.example",
    "sender": "bounce@example.org",
    "message-headers": orjson.dumps(list(MAIL_HEADERS.items())).decode(),
    "subject": "Broken",
    "body-plain": "It is.",
    "body-html": "<p>It is.</p>",
}


def mailgun_event(word: str, **more: Any) -> Request:
    headers = {"message-id": "m2@acme.example", "from": "Help <help@acme.example>", "to": "ann@example.org"}
    told = {"event": word, "timestamp": 1700000000.25, "recipient": "ann@example.org", "message": {"headers": headers}}
    return posted({"signature": {}, "event-data": {**told, **more}})


RECEIPT = {
    "channel": "email",
    "direction": "outbound",
    "interaction_id": "m2@acme.example",
    "occurred_at": "2023-11-14T22:13:20.250Z",
    "from": {"address": "help@acme.example", "name": "Help"},
    "to": "ann@example.org",
}
MAILGUN = [
    Row("mailgun", "a mail", form(MAILGUN_IN), [{**MAILED, "provider": "mailgun"}]),
    Row(
        "mailgun",
        "a mail with a file",
        multipart(MAILGUN_IN, [("a.txt", "text/plain", b"hello")]),
        [
            {
                **MAILED,
                "provider": "mailgun",
                "attachments": [{"name": "a.txt", "content_type": "text/plain", "size": 5}],
            }
        ],
    ),
    Row(
        "mailgun",
        "a mail as it came",
        form({"recipient": "help@acme.example", "body-mime": WHOLE_MAIL}),
        [{**without_html(MAILED), **WHOLE_MAILED, "provider": "mailgun"}],
    ),
    Row("mailgun", "a form that is no mail", form({"hello": "1"}), [], unread=True),
    *(
        Row("mailgun", f"a mail that was {word}", mailgun_event(word), [{**RECEIPT, "status": status, **PROVIDED}])
        for PROVIDED in [{"provider": "mailgun"}]
        for word, status in {
            "accepted": "queued",
            "delivered": "delivered",
            "opened": "read",
            "rejected": "failed",
        }.items()
    ),
    Row(
        "mailgun",
        "a mail that failed for good",
        mailgun_event("failed", severity="permanent", reason="bounce"),
        [{**RECEIPT, "status": "failed", "provider": "mailgun", "metadata": {"error": "bounce"}}],
    ),
    Row("mailgun", "a mail that failed for now", mailgun_event("failed", severity="temporary"), []),
    Row("mailgun", "a click", mailgun_event("clicked"), []),
    Row("mailgun", "an event nobody knows", mailgun_event("eaten"), [], unread=True),
    Row("mailgun", "no event", posted({"signature": {}}), [], unread=True),
]

SENDGRID_IN: dict[str, str | bytes] = {
    "headers": "".join(f"{name}: {value}\n" for name, value in MAIL_HEADERS.items()),
    "from": '"Ann Ox" <ann@example.org>',
    "to": "Help <help@acme.example>, other@acme.example",
    "subject": "Broken",
    "text": "It is.",
    "html": "<p>It is.</p>",
    "envelope": '{"to":["help@acme.example"],"from":"bounce@example.org"}',
    "charsets": '{"text":"UTF-8"}',
    "attachments": "0",
}


def sendgrid_event(word: str, **more: Any) -> dict[str, Any]:
    return {
        "email": "ann@example.org",
        "timestamp": 1700000000,
        "smtp-id": "<m2@acme.example>",
        "event": word,
        "sg_event_id": "e1",
        "sg_message_id": "14c5.filter1",
        **more,
    }


SENDGRID_RECEIPT = {**RECEIPT, "from": None, "occurred_at": "2023-11-14T22:13:20.000Z", "provider": "sendgrid"}
SENDGRID = [
    Row("sendgrid", "a mail", multipart(SENDGRID_IN), [{**MAILED, "provider": "sendgrid"}]),
    Row(
        "sendgrid",
        "a mail in its own character set, with a file",
        multipart(
            {**SENDGRID_IN, "text": "Grüße".encode("latin-1"), "charsets": '{"text":"iso-8859-1"}'},
            [("a.png", "image/png", b"\x89PNG")],
        ),
        [
            {
                **MAILED,
                "text": "Grüße",
                "provider": "sendgrid",
                "attachments": [{"name": "a.png", "content_type": "image/png", "size": 4}],
            }
        ],
    ),
    Row(
        "sendgrid",
        "a mail as it came",
        multipart({"envelope": '{"to":["help@acme.example"],"from":"bounce@example.org"}', "email": WHOLE_MAIL}),
        [{**without_html(MAILED), **WHOLE_MAILED, "provider": "sendgrid"}],
    ),
    Row("sendgrid", "a form that is no mail", multipart({"hello": "1"}), [], unread=True),
    Row(
        "sendgrid",
        "events",
        posted([sendgrid_event(word) for word in ("processed", "deferred", "delivered", "open", "click", "dropped")]),
        [{**SENDGRID_RECEIPT, "status": status} for status in ("queued", "delivered", "read", "failed")],
    ),
    Row(
        "sendgrid",
        "a bounce",
        posted([sendgrid_event("bounce", reason="550 no such user")]),
        [{**SENDGRID_RECEIPT, "status": "failed", "metadata": {"error": "550 no such user"}}],
    ),
    Row(
        "sendgrid",
        "a batch of which one makes no sense",
        posted([{"event": "delivered"}, sendgrid_event("delivered")]),
        [{**SENDGRID_RECEIPT, "status": "delivered"}],
        unread=True,
    ),
]

POSTMARK_IN = {
    "From": "ann@example.org",
    "FromFull": {"Email": "ann@example.org", "Name": "Ann Ox", "MailboxHash": ""},
    "To": "Help <help@acme.example>, other@acme.example",
    "ToFull": [{"Email": "help@acme.example", "Name": "Help"}, {"Email": "other@acme.example", "Name": ""}],
    "Cc": "cc@acme.example",
    "Subject": "Broken",
    "MessageID": "00000000-0000-0000-0000-000000000000",
    "Date": "Wed, 11 Oct 2017 18:31:04 -0700",
    "TextBody": "It is.",
    "HtmlBody": "<p>It is.</p>",
    "Headers": [
        {"Name": "Message-ID", "Value": "<m1@mail.example>"},
        {"Name": "In-Reply-To", "Value": "<m0@mail.example>"},
    ],
    "Attachments": [],
}
POSTMARK_RECEIPT = {**RECEIPT, "from": None, "occurred_at": "2023-11-14T22:13:20.000Z", "provider": "postmark"}


def postmark_event(kind: str, **more: Any) -> Request:
    at = {"Delivery": "DeliveredAt", "Bounce": "BouncedAt"}.get(kind, "ReceivedAt")
    told = {"RecordType": kind, "MessageID": "m2@acme.example", "Recipient": "ann@example.org"}
    return posted({**told, at: "2023-11-14T22:13:20Z", **more})


POSTMARK = [
    Row("postmark", "a mail", posted(POSTMARK_IN), [{**MAILED, "provider": "postmark"}]),
    Row(
        "postmark",
        "an answer of a machine, with a file",
        posted(
            {
                **POSTMARK_IN,
                "Headers": [*POSTMARK_IN["Headers"], {"Name": "Auto-Submitted", "Value": "auto-replied"}],
                "Attachments": [{"Name": "a.txt", "ContentType": "text/plain", "ContentLength": 45, "Data": "VGg="}],
            }
        ),
        [
            {
                **MAILED,
                "provider": "postmark",
                "auto_response": True,
                "attachments": [{"name": "a.txt", "content_type": "text/plain", "size": 45}],
            }
        ],
    ),
    Row("postmark", "a delivery", postmark_event("Delivery"), [{**POSTMARK_RECEIPT, "status": "delivered"}]),
    Row("postmark", "an open", postmark_event("Open"), [{**POSTMARK_RECEIPT, "status": "read"}]),
    Row(
        "postmark",
        "a bounce",
        postmark_event("Bounce", Type="HardBounce", Email="ann@example.org", Recipient=None),
        [{**POSTMARK_RECEIPT, "status": "failed", "metadata": {"error": "HardBounce"}}],
    ),
    Row("postmark", "a bounce for now", postmark_event("Bounce", Type="Transient"), []),
    Row("postmark", "a click", postmark_event("Click"), []),
    Row("postmark", "an event nobody knows", postmark_event("Meal"), [], unread=True),
    Row("postmark", "JSON of somebody else", posted({"hello": 1}), [], unread=True),
]

ROWS = [*TWILIO, *WHATSAPP, *VONAGE, *INFOBIP, *AFRICASTALKING, *KANNEL, *MAILGUN, *SENDGRID, *POSTMARK]
