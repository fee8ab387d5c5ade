"""The files of certificates and keys that the settings name: opened, to see whether they can be used."""

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from interaction_router.settings.consistency import Contradiction
from interaction_router.settings.model import Settings
from interaction_router.settings.names import Name

_MISMATCH: Final = "KEY_VALUES_MISMATCH"


def unusable_certificates(settings: Settings) -> Iterator[Contradiction]:
    """Go through the files that cannot be used for what they are named for; reads all of them."""
    for name, section in _sections(settings, ()):
        cafile = getattr(section, "ssl_cafile", None)
        if cafile is not None and (cause := _no_certificate(cafile)) is not None:
            yield Contradiction((*name, "ssl_cafile"), cause)
        certfile = getattr(section, "ssl_certfile", None)
        if certfile is None:
            continue
        if (cause := _no_certificate(certfile)) is not None:
            yield Contradiction((*name, "ssl_certfile"), cause)
        elif (cause := _no_key(certfile, section)) is not None:
            field = "ssl_certfile" if getattr(section, "ssl_keyfile", None) is None else "ssl_keyfile"
            yield Contradiction((*name, field), cause)


def _sections(value: object, name: Name) -> Iterator[tuple[Name, BaseModel]]:
    if isinstance(value, BaseModel):
        yield name, value
        items = {field: getattr(value, field) for field in type(value).model_fields}
    else:
        items = dict(value) if isinstance(value, Mapping) else {}
    for key, inner in items.items():
        yield from _sections(inner, (*name, key))


def _no_certificate(path: Path) -> str | None:
    """Return why there is no certificate in a file, None where there is one."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return f"holds no certificate (PEM): {path}; name a file that begins with -----BEGIN CERTIFICATE-----"
    except OSError as error:
        return f"cannot be read: {path}: {error.strerror}; let this user read it"
    return None


def _no_key(certfile: Path, section: BaseModel) -> str | None:
    """Return why the certificate has no key that can be used, None where it has one."""
    keyfile: Path | None = getattr(section, "ssl_keyfile", None)
    secret = getattr(section, "ssl_keyfile_password", None)
    path = certfile if keyfile is None else keyfile
    try:
        # With a pass phrase, an empty one: OpenSSL would otherwise ask for it on the terminal.
        password = "" if secret is None else secret.get_secret_value()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certfile, keyfile, password)
    except ssl.SSLError as error:
        if error.reason == _MISMATCH:
            return f"is not the key of the certificate in {certfile}: {path}; name the one that it was made with"
        phrase = "" if secret is None else " that ssl_keyfile_password opens"
        return f"holds no key (PEM){phrase or ' without a pass phrase'}: {path}; name the certificate's own"
    except OSError as error:
        return f"cannot be read: {path}: {error.strerror}; let this user read it"
    return None
