r"""Where in a reply the quoted mail begins.

`mail-parser-reply` does this for more languages, but by regular expressions whose time grows with the square of the
text (20,000 empty lines take over half a minute), which a receiver cannot have. This takes one look at each line.
"""

import re
from collections.abc import Sequence
from typing import Final

_QUOTED: Final = re.compile(r"\s{0,3}>")
_SEPARATOR: Final = re.compile(r"\s*(?:-{3,}[^-]{3,60}-{3,}|_{30,})\s*")
_ATTRIBUTION_ENDS: Final = tuple(
    ending + colon
    for ending in (
        "wrote", "schrieb", "a écrit", "escribió", "ha scritto", "schreef", "geschreven", "escreveu", "skrev",
        "skrifaði", "kirjoitti", "napisał", "napisał(a)", "napsal", "napsal(a)", "пишет", "написал", "het volgende",
    )
    for colon in (":", " :", "\u00a0:")
)  # fmt: skip
_HEADERS: Final = re.compile(
    r"\s*[*_]{0,2}(?:From|Sent|To|Cc|Subject|Date|Von|Gesendet|An|Betreff|Datum|De|Envoyé|À|Objet|Enviado|Para|Asunto"
    r"|Assunto|Da|Inviato|A|Oggetto|Van|Verzonden|Aan|Onderwerp|Fra|Sendt|Til|Emne|Från|Skickat|Till|Ämne|Datum"
    r"|Date d'envoi|Reply-To)[*_]{0,2}[ \u00a0]?:[*_]{0,2}(?:\s|$)",
    re.IGNORECASE,
)
_LEAST_HEADERS: Final = 3
_LONGEST_LINE: Final = 400
_ATTRIBUTION_LINES: Final = 3


def reply_of(text: str) -> str | None:
    """Return what the sender wrote above the quoted mail; None where nothing is quoted, or quotes stand between."""
    lines = text.split("\n")
    begins = _quoted_from(lines)
    if begins is None:
        return None
    reply = "\n".join(lines[:begins]).strip()
    return reply or None


def _quoted_from(lines: Sequence[str]) -> int | None:
    """Return the first line of the quoted part."""
    headers = 0
    for index, line in enumerate(lines):
        if len(line) > _LONGEST_LINE:
            headers = 0
            continue
        headers = headers + 1 if _HEADERS.match(line) else 0
        if headers == _LEAST_HEADERS:
            return _with_separator(lines, index + 1 - headers)
        if line.rstrip().endswith(_ATTRIBUTION_ENDS):
            return _beginning_of_attribution(lines, index) if not _answered_between(lines, index + 1) else None
    return _quoted_end(lines)


def _with_separator(lines: Sequence[str], first: int) -> int:
    """Return where the line above a block of headers begins that parts it from the reply, or the block itself."""
    above = first - 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    return above if above >= 0 and _SEPARATOR.fullmatch(lines[above][:_LONGEST_LINE]) else first


def _beginning_of_attribution(lines: Sequence[str], last: int) -> int:
    """Return where a line as "On Monday, Ann wrote:" begins that clients may have wrapped."""
    first = last
    while first > 0 and last - first < _ATTRIBUTION_LINES - 1 and lines[first - 1].strip():
        first -= 1
    return first if first == 0 or not lines[first - 1].strip() else last


def _answered_between(lines: Sequence[str], start: int) -> bool:
    """Return whether lines of the sender's own follow a quoted one; a signature at the end is not counted."""
    quoted = False
    for line in lines[start:]:
        if _QUOTED.match(line):
            quoted = True
        elif line.rstrip() == "--" or line == "-- ":
            return False
        elif quoted and line.strip():
            return True
    return False


def _quoted_end(lines: Sequence[str]) -> int | None:
    """Return where the lines begin that are quoted to the end; a line above them that ends in a colon is of them."""
    first = len(lines)
    while first > 0 and (not lines[first - 1].strip() or _QUOTED.match(lines[first - 1])):
        first -= 1
    while first < len(lines) and not lines[first].strip():
        first += 1
    if first == len(lines):
        return None
    above = first - 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    if above >= 0 and lines[above].rstrip().endswith(":"):
        return _beginning_of_attribution(lines, above)
    return first
