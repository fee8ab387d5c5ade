"""Telephone numbers as E.164: one number however it is written, and with it the ways in which networks differ."""

import re
import unicodedata
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

_PUNCTUATION: Final = r"\s().\-/\u2010-\u2015\u2212\u00b7\u2060\u00ad\u200b\u200e\u200f\u202a-\u202e"
_NUMBER: Final = re.compile(
    rf"(?P<number>[{_PUNCTUATION}]*\+?[{_PUNCTUATION}\d]*\d[{_PUNCTUATION}\d]*)"
    r"(?:(?:;ext=|,+|;|x|\#|ext\.?:?|extension)\s*(?P<extension>\d{1,7})\#?)?",
    re.IGNORECASE,
)
_TEL_URI: Final = re.compile(r"tel:(?P<number>[^;]+)(?P<parameters>(?:;[^;]*)*)", re.IGNORECASE)
_CONTEXT: Final = re.compile(r";phone-context=(\+\d+)", re.IGNORECASE)

_SHORT_CODE_DIGITS: Final = 6
_MEXICO, _ARGENTINA, _BRAZIL = 52, 54, 55
_MEXICO_WITH_1: Final = 11
_ARGENTINA_WITH_9: Final = 11
_BRAZIL_WITHOUT_9: Final = 10
_BRAZIL_AREA: Final = 2
_BRAZIL_MOBILE: Final = "6789"


def digits_of(text: str) -> str | None:
    """Return the digits, with a `+` if it has one, of what is written as a number; None for a word or a mix.

    An extension is cut off: behind one number there is one party.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    uri = _TEL_URI.fullmatch(text)
    if uri is not None:
        context = _CONTEXT.search(uri["parameters"])
        local = context is not None and not uri["number"].startswith("+")
        text = f"{context[1]}{uri['number']}" if context is not None and local else uri["number"]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    written = match["number"]
    digits = "".join(str(unicodedata.decimal(each)) for each in written if each.isdecimal())
    return f"+{digits}" if "+" in written else digits


def e164(text: str, region: str | None) -> str | None:
    """Return `+27821234567`; None for what is no number, a short code, or what libphonenumber finds impossible."""
    number = digits_of(text)
    if number is None:
        return None
    if number.startswith("+"):
        return _e164(number, None)
    found = _national(number, region)
    return _e164(f"+{number[2:]}", None) if found is None and number.startswith("00") else found


def e164_global(text: str) -> str | None:
    """Return the number where it is written with `+`."""
    number = digits_of(text)
    return _e164(number, None) if number is not None and number.startswith("+") else None


def e164_of_user_id(text: str, region: str | None) -> str | None:
    """Return the number of a user id that begins with a country code without saying so, as WhatsApp's do.

    Where the digits could be a national number as well, the reading that is a number in use wins.
    """
    number = digits_of(text)
    if number is None or number.startswith("+"):
        return e164(text, region)
    readings = (_parsed(f"+{number}", None), _parsed(number, region) if region else None)
    for reading in readings:
        if reading is not None and phonenumbers.is_valid_number(reading):
            return _possible(reading)
    for reading in readings:
        found = None if reading is None else _possible(reading)
        if found is not None and len(number) > _SHORT_CODE_DIGITS:
            return found
    return None


def _national(number: str, region: str | None) -> str | None:
    parsed = None if region is None else _parsed(number, region)
    if parsed is None or (len(number) <= _SHORT_CODE_DIGITS and not phonenumbers.is_valid_number(parsed)):
        return None
    return _possible(parsed)


def _e164(number: str, region: str | None) -> str | None:
    parsed = _parsed(number, region)
    return None if parsed is None else _possible(parsed)


def _possible(number: PhoneNumber) -> str | None:
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parsed(number: str, region: str | None) -> PhoneNumber | None:
    try:
        parsed = phonenumbers.parse(number, region)
    except NumberParseException:
        return None
    national = _as_dialled_from_abroad(parsed.country_code or 0, phonenumbers.national_significant_number(parsed))
    if national is not None:
        parsed.national_number = int(national)
    return parsed


def _as_dialled_from_abroad(country: int, national: str) -> str | None:
    """Return the national number without the digits that only some networks write; None where it has none.

    Mexico's 1 and Argentina's 9 before a mobile were for calls from abroad; Brazil gave its mobiles, which began
    with 6 to 9, a ninth digit, and older records lack it.
    """
    if country == _MEXICO and len(national) == _MEXICO_WITH_1 and national[0] == "1":
        return national[1:]
    if country == _ARGENTINA and len(national) == _ARGENTINA_WITH_9 and national[0] == "9":
        return national[1:]
    area, local = national[:_BRAZIL_AREA], national[_BRAZIL_AREA:]
    if country == _BRAZIL and len(national) == _BRAZIL_WITHOUT_9 and local[0] in _BRAZIL_MOBILE:
        return f"{area}9{local}"
    return None
