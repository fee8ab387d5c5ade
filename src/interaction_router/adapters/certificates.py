"""What is wrong with a server's certificate."""

import ssl


def why_untrusted(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, where that is what lies under the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
