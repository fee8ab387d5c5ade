"""Addresses that mean one party have one form, and only those (acceptance 26 to 30)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_router.domain.errors import RejectedError
from interaction_router.wire.addresses import Canonical, canonical, canonical_contact_address, canonical_own_addresses

ANN = "tel:+27821234567"


@pytest.mark.parametrize(
    ("channel", "address", "region", "endpoint"),
    [
        # 26: one number, however it is written
        ("voice", "0821234567", "ZA", ANN),
        ("voice", "+27821234567", None, ANN),
        ("voice", "+27821234567", "US", ANN),
        ("sms", "27821234567", "ZA", ANN),
        ("sms", "082 123 4567", "ZA", ANN),
        ("sms", " (082) 123-4567 ", "ZA", ANN),
        ("sms", "+27 (0)82 123 4567", None, ANN),
        ("sms", "(+27) 82.123.4567", None, ANN),
        ("sms", "0027821234567", "ZA", ANN),
        ("sms", "0027821234567", "US", ANN),
        ("sms", "0027821234567", None, ANN),
        ("sms", "٠٨٢١٢٣٤٥٦٧", "ZA", ANN),
        ("sms", "+27821234567", None, ANN),
        ("sms", "\u202a+27 82\u00a0123\u20114567\u202c", None, ANN),
        ("voice", "tel:+27-82-123-4567", None, ANN),
        ("voice", "tel:082-123-4567;phone-context=+27", None, ANN),
        ("voice", "tel:+27821234567;ext=12", None, ANN),
        ("voice", "+27821234567 ext. 12", None, ANN),
        ("voice", "0821234567x12", "ZA", ANN),
        ("voice", '"Ann" <0821234567>', "ZA", ANN),
        ("voice", "sip:+27821234567@pbx.example.com;user=phone", None, ANN),
        ("email", ANN, None, ANN),
        ("chat", ANN, None, ANN),
        # 27: digits that only some networks write
        ("sms", "+5215512345678", None, "tel:+525512345678"),
        ("sms", "+525512345678", None, "tel:+525512345678"),
        ("sms", "55 1234 5678", "MX", "tel:+525512345678"),
        ("sms", "+5491123456789", None, "tel:+541123456789"),
        ("sms", "+541123456789", None, "tel:+541123456789"),
        ("sms", "011 15-2345-6789", "AR", "tel:+541123456789"),
        ("sms", "+558182345678", None, "tel:+5581982345678"),
        ("sms", "+5581982345678", None, "tel:+5581982345678"),
        ("sms", "(81) 8234-5678", "BR", "tel:+5581982345678"),
        ("voice", "+551132345678", None, "tel:+551132345678"),
        # 30: WhatsApp
        ("whatsapp", "whatsapp:+27821234567", None, ANN),
        ("whatsapp", "27821234567", None, ANN),
        ("whatsapp", "27821234567", "US", ANN),
        ("whatsapp", "0821234567", "ZA", ANN),
        ("whatsapp", "5215512345678", "ZA", "tel:+525512345678"),
        ("whatsapp", "5491123456789", None, "tel:+541123456789"),
        ("whatsapp", "558182345678", None, "tel:+5581982345678"),
        ("whatsapp", "wa:27821234567", None, ANN),
        ("whatsapp", "US.13491208655302741918", "US", "wa:US.13491208655302741918"),
        ("whatsapp", "wa:US.13491208655302741918", "US", "wa:US.13491208655302741918"),
        ("sms", "wa:US.13491208655302741918", "US", "wa:US.13491208655302741918"),
        # 29: e-mail
        ("email", "Ann@EXAMPLE.com", None, "mailto:ann@example.com"),
        ("email", "ann+shop@example.com", None, "mailto:ann+shop@example.com"),
        ("email", "ann@example.com.", None, "mailto:ann@example.com"),
        ("email", "Ann Other <Ann@Example.com>", None, "mailto:ann@example.com"),
        ("email", '"Other, Ann" <ann@example.com>', None, "mailto:ann@example.com"),
        ("email", "<ann@example.com>", None, "mailto:ann@example.com"),
        ("email", "mailto:Ann@example.com?subject=hi", None, "mailto:ann@example.com"),
        ("email", "mailto:ann@example.com", None, "mailto:ann@example.com"),
        ("sms", "mailto:ann@example.com", None, "mailto:ann@example.com"),
        ("email", "info@MÜNCHEN.de", None, "mailto:info@xn--mnchen-3ya.de"),
        ("email", "info@xn--mnchen-3ya.DE", None, "mailto:info@xn--mnchen-3ya.de"),
        ("email", "info@mu\u0308nchen.de", None, "mailto:info@xn--mnchen-3ya.de"),
        ("email", "a_b@sub_domain.example.com", None, "mailto:a_b@sub_domain.example.com"),
        ("email", "root@[192.0.2.1]", None, "mailto:root@[192.0.2.1]"),
        ("email", '"a@b c"@example.com', None, 'mailto:"a@b c"@example.com'),
        # the rest
        ("voice", "sip:Ann@PBX.example.com:5060;transport=tcp", None, "sip:Ann@pbx.example.com:5060"),
        ("voice", "sips:ann@pbx.example.com", None, "sip:ann@pbx.example.com"),
        ("voice", "1000@pbx.example.com", "ZA", "sip:1000@pbx.example.com"),
        ("chat", "visitor-7", None, "chat:visitor-7"),
        ("chat", "chat:visitor-7", None, "chat:visitor-7"),
        ("chat", "0821234567", "ZA", "chat:0821234567"),
        ("chat", "<@U1>", None, "chat:<@U1>"),
        ("telegram", "12345", "ZA", "telegram:12345"),
        ("voice", "telegram:12345", "ZA", "telegram:12345"),
    ],
)
def test_an_address_has_one_form(channel: str, address: str, region: str | None, endpoint: str) -> None:
    assert canonical(channel, address, region) == Canonical(endpoint, opaque=False)


@pytest.mark.parametrize(
    ("channel", "address", "region", "endpoint"),
    [
        # 28: short codes, senders with a name, impossible numbers
        ("sms", "ACMEBANK", "ZA", "tel:opaque/ACMEBANK"),
        ("sms", " ACME   BANK ", "ZA", "tel:opaque/ACME BANK"),
        ("sms", "ACME12345678", "ZA", "tel:opaque/ACME12345678"),
        ("sms", "1800FLOWERS", "US", "tel:opaque/1800FLOWERS"),
        ("sms", "31234", "ZA", "tel:opaque/31234"),
        ("sms", "12345", "DE", "tel:opaque/12345"),
        ("sms", "31-234", "ZA", "tel:opaque/31234"),
        ("sms", "72345", "US", "tel:opaque/72345"),
        ("sms", "tel:opaque/31234", "ZA", "tel:opaque/31234"),
        ("voice", "+1234", None, "tel:opaque/+1234"),
        ("voice", "+278212345678901", None, "tel:opaque/+278212345678901"),
        ("voice", "5551234", "US", "tel:opaque/5551234"),
        ("voice", "0821234567", None, "tel:opaque/0821234567"),
        ("voice", "0821234567", "XX", "tel:opaque/0821234567"),
        ("voice", "112", "DE", "tel:opaque/112"),
        ("voice", "*31#", "DE", "tel:opaque/*31#"),
        ("whatsapp", "12345", "ZA", "tel:opaque/12345"),
        ("email", "root", None, "email:opaque/root"),
        ("email", "ROOT", None, "email:opaque/root"),
        ("email", "email:opaque/root", None, "email:opaque/root"),
        ("email", "ann@", None, "email:opaque/ann@"),
        ("email", "@example.com", None, "email:opaque/@example.com"),
        ("email", "a@b@example.com", None, "email:opaque/a@b@example.com"),
        ("email", "ann@exa mple.com", None, "email:opaque/ann@exa mple.com"),
        ("email", "ann@\u2603\u0301.\u0301com", None, "email:opaque/ann@\u2603\u0301.\u0301com"),
    ],
)
def test_an_address_in_doubt_stays_what_it_is(channel: str, address: str, region: str | None, endpoint: str) -> None:
    assert canonical(channel, address, region) == Canonical(endpoint, opaque=True)


def test_a_short_code_and_a_name_stay_apart() -> None:
    senders = ["31234", "31235", "ACMEBANK", "ACME", "+31234"]
    assert len({canonical("sms", sender, "ZA") for sender in senders}) == len(senders)


@pytest.mark.parametrize(
    ("address", "region", "endpoint"),
    [
        ("0821234567", "ZA", ANN),
        ("+27 82 123 4567", None, ANN),
        (ANN, None, ANN),
        ("tel:0821234567", "ZA", ANN),
        ("tel:opaque/+27821234567", None, ANN),
        ("whatsapp:+27821234567", None, ANN),
        ("Ann@EXAMPLE.com", None, "mailto:ann@example.com"),
        ("Ann <ann@example.com>", None, "mailto:ann@example.com"),
        ("tel:opaque/ACMEBANK", None, "tel:opaque/ACMEBANK"),
        ("tel:opaque/12345678", "DE", "tel:opaque/12345678"),
        ("email:opaque/root", None, "email:opaque/root"),
        ("sip:ann@pbx.example.com", None, "sip:ann@pbx.example.com"),
        ("wa:US.1349", None, "wa:US.1349"),
        ("chat:visitor-7", None, "chat:visitor-7"),
    ],
)
def test_a_contact_is_saved_with_it(address: str, region: str | None, endpoint: str) -> None:
    assert canonical_contact_address(address, region) == endpoint


@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("ACMEBANK", "ZA"),
        ("31234", "ZA"),
        ("+1234", None),
        ("0821234567", None),
        ("tel:opaque/31-234", None),
        ("root", None),
        ("ann@", None),
        ("a@b@c", None),
        ("", "ZA"),
        ("anonymous", "ZA"),
        ("tel:", "ZA"),
        ("mailto:", "ZA"),
        ("sip:", "ZA"),
        ("chat:", "ZA"),
        ("voice:x", "ZA"),
    ],
)
def test_a_contact_is_not_saved_with_what_cannot_be_one(address: str, region: str | None) -> None:
    with pytest.raises(RejectedError) as caught:
        canonical_contact_address(address, region, field="addresses.3")
    assert (caught.value.code, caught.value.field) == ("address_invalid", "addresses.3")
    assert not address or address not in str(caught.value)


def test_own_addresses_may_be_short_codes() -> None:
    own = canonical_own_addresses(("011 000 0000", "31234", "ACMEBANK", "Sales@Example.com"), "ZA")
    assert own == {"tel:+27110000000", "tel:opaque/31234", "tel:opaque/ACMEBANK", "mailto:sales@example.com"}


_ALPHABET = "+0123456789 ()-<>@:;.aAtelwsip/x"
_ADDRESSES = (st.text(max_size=20) | st.text(_ALPHABET, max_size=16)).filter(str.strip)
_REGIONS = st.sampled_from([None, "ZA", "US", "BR", "MX", "AR", "DE", "XX"])


@given(channel=st.sampled_from(["voice", "sms", "whatsapp", "email", "chat"]), address=_ADDRESSES, region=_REGIONS)
def test_every_address_has_a_form_and_the_form_is_its_own(channel: str, address: str, region: str | None) -> None:
    found = canonical(channel, address, region)
    assert found.endpoint.partition(":")[2]
    assert canonical(channel, found.endpoint, region) == found


@given(address=_ADDRESSES, region=_REGIONS)
def test_what_a_contact_is_saved_with_is_taken_over_every_channel(address: str, region: str | None) -> None:
    try:
        endpoint = canonical_contact_address(address, region)
    except RejectedError:
        return
    for channel in ("voice", "sms", "whatsapp", "email", "chat"):
        assert canonical(channel, endpoint, None).endpoint == endpoint
