"""How the demo looks: a line for each thing that a subscriber sees, then what it came to."""

import sys
import time
from collections.abc import Mapping
from shlex import quote
from typing import Any, Final

import orjson
from rich.console import Console
from rich.text import Text

from interaction_router.application.demonstration import Repeated, Said, Sight, Tally
from interaction_router.application.subscriber import SeenLetter, SeenUpdate
from interaction_router.cli.nouns import NOUNS, PROGRAM
from interaction_router.cli.output import PIPE_WIDTH, safe

_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
_JOINED: Final = {
    "joined_open_conversation": "joins",
    "opened_for_contact": "opens a conversation",
    "opened_unlinked": "opens an unlinked conversation",
    "joined_closed_late": "joins the closed one: it happened before the close",
    "joined_closed_auto": "joins the closed one: a machine wrote it",
}
_LINKED_BY: Final = {"save": "the contact was saved", "hand": "by hand", "merge": "contacts were merged"}
_TEXT_SHOWN: Final = 34
NEXT: Final = (
    ("demo --seconds 60 --rate 20", "more of it"),
    ("demo --data demo-data --keep-running", "the same on disk, until Ctrl-C"),
    ("config show", "every setting and where it comes from"),
    ("topics apply", "make the topics on your Kafka"),
    ("worker", "run on Kafka and Redis"),
    ("simulate --rate 50 --seconds 30", "send this load to it"),
    ("tail", "see the updates as they come"),
)
_OF_KEPT: Final = (
    ("conversations list --tenant demo", "the conversations as they stand"),
    ("tail --no-follow", "every update again"),
)


class Screen:
    """Prints to standard output as things happen: lines for people, or JSON."""

    def __init__(self, names: Mapping[str, str], *, as_json: bool, colours: bool) -> None:
        """`names` are those of the contacts by their ids, as a CRM would know them."""
        self._names = names
        self._as_json = as_json
        self._console = Console(
            color_system="auto" if colours else None,
            width=None if sys.stdout.isatty() else PIPE_WIDTH,
            highlight=False,
            emoji=False,
            markup=False,
        )
        self._labels: dict[str, int] = {}
        self._previous: dict[str, str | None] = {}
        self._begun: float | None = None

    def open(self, *, seed: int, idle_s: float, where: str | None) -> None:
        """Say what will be seen."""
        if self._as_json:
            self._json({"type": "demo.started", "seed": seed, "data": where})
            return
        place = "in memory" if where is None else f"in {where}"
        self._say(
            f"One process, log and tables {place}, simulated gateways, seed {seed}. Everybody in it is fictional."
        )
        self._say(
            f"#1, #2 … are conversations as a subscriber of conversations.v1 sees them; a chat closes when idle {idle_s:g} s."
        )
        self._say("")

    def tell(self, sight: Sight) -> None:
        """Print one thing."""
        match sight:
            case SeenUpdate():
                self._update(sight)
            case SeenLetter():
                self._letter(sight)
            case Repeated():
                self._repeated(sight)
            case Said():
                self._said(sight)

    def _said(self, said: Said) -> None:
        if self._as_json:
            self._json({"type": "demo.step", "text": said.text})
        else:
            self._line("  ", Text(f"» {said.text}", style="bold"))

    def _letter(self, letter: SeenLetter) -> None:
        if self._as_json:
            place = None if letter.cause is None else letter.cause._asdict()
            self._json({"type": "demo.dead_letter", "code": letter.code, "message": letter.message, "cause": place})
            return
        source = "" if letter.cause is None else f" from {letter.cause.stream}"
        self._line("✗ ", Text(f"dead letter{source}: {letter.code}: {letter.message}", style="red"))

    def _repeated(self, repeated: Repeated) -> None:
        if self._as_json:
            cause, changes = repeated.place._asdict(), repeated.changes
            named = {"channel": repeated.channel, "interaction_id": repeated.interaction_id, "status": repeated.status}
            self._json({"type": "demo.duplicate", **named, "cause": cause, "updates": changes})
            return
        event = f"{repeated.channel} {repeated.interaction_id}" + (f" ({repeated.status})" if repeated.status else "")
        if repeated.changes:
            self._line("! ", Text(f"{event} came again and made {repeated.changes} updates", style="bold red"))
        else:
            self._line("= ", Text(f"duplicate {event}: seen before, nothing changes", style="dim"))

    def _update(self, update: SeenUpdate) -> None:
        if self._as_json:
            sys.stdout.write(update.value.decode() + "\n")
            sys.stdout.flush()
            return
        fields = update.fields
        if update.conversation_id is None:
            self._line("  ", Text(f"{update.type}: {self._name(fields)}", style="yellow"))
            return
        if update.type == "conversation.opened":
            # Its first interaction follows at once, and is told together with it.
            self._previous[update.conversation_id] = fields["previous_conversation_id"]
            return
        self._line(self._label(update.conversation_id), self._told(update))

    def _told(self, update: SeenUpdate) -> Text:
        fields = update.fields
        who = Text(f"{self._name(fields):22.22} ", style="bold" if fields["contact_id"] else "")
        kind = update.type.removeprefix("conversation.")
        match kind:
            case "interaction_added" | "interaction_updated":
                return who + self._interaction(update)
            case "linked":
                return who + Text(f"linked: {_LINKED_BY[fields['by']]}", style="bold green")
            case "closed":
                into = f", goes on in {self._plain_label(fields['into'])}" if "into" in fields else ""
                return who + Text(f"closed: {fields['reason']}{into}", style="bold yellow")
            case _:
                return who + Text(kind)

    def _interaction(self, update: SeenUpdate) -> Text:
        fields = update.fields
        interaction: Mapping[str, Any] = fields["interaction"]  # Any: the JSON of the contract
        arrow = "←" if interaction["direction"] == "inbound" else "→"
        agent = f" {interaction['agent_id']}" if interaction["agent_id"] else ""
        line = Text(f"{interaction['channel']:8} {arrow} ")
        if update.type == "conversation.interaction_updated":
            line.append(f"{interaction['status']}{agent}")
            return line + Text(" (closed already)" if fields["status"] == "closed" else "", style="dim")
        line.append(f"{interaction['status']}{agent}, ")
        line.append(_JOINED[fields["cause"]["rule"]], style="green" if fields["seq"] == 2 else "")  # noqa: PLR2004
        previous = self._previous.pop(str(update.conversation_id), None)
        if previous is not None:
            line.append(f", after {self._plain_label(previous)}")
        text = safe(str(interaction.get("text") or ""))
        return line + Text(f"  “{text[:_TEXT_SHOWN]}”" if text else "", style="dim italic")

    def _name(self, fields: Mapping[str, Any]) -> str:  # Any: the JSON of the contract
        contact_id = fields["contact_id"]
        if contact_id is not None:
            return self._names.get(contact_id, str(contact_id))
        endpoint = fields.get("endpoint")
        return "number withheld" if endpoint is None else safe(str(endpoint).partition(":")[2])

    def _plain_label(self, conversation_id: str) -> str:
        return f"#{self._labels.setdefault(conversation_id, len(self._labels) + 1)}"

    def _label(self, conversation_id: str) -> Text:
        label = self._plain_label(conversation_id)
        return Text(f"{label:5}", style=_COLOURS[self._labels[conversation_id] % len(_COLOURS)])

    def _line(self, mark: str | Text, text: Text) -> None:
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        elapsed = Text(f"{now - self._begun:6.2f}  ", style="dim")
        self._print(elapsed + (Text(f"{mark:5}") if isinstance(mark, str) else mark) + text)

    def _print(self, text: Text) -> None:
        self._console.print(text, no_wrap=True, overflow="ellipsis", crop=True)

    def _say(self, text: str) -> None:
        self._console.print(Text(text))

    def _json(self, values: Mapping[str, object]) -> None:
        sys.stdout.write(orjson.dumps(values).decode() + "\n")
        sys.stdout.flush()

    def close(self, tally: Tally, seed: int, *, where: str | None) -> None:
        """Print what it came to, and what to try next."""
        summary = _summary(tally, seed)
        if self._as_json:
            self._json({"type": "demo.summary", **summary})
            return
        self._say("")
        for name, value in summary.items():
            self._say(f"{name.replace('_', ' '):24} {_shown(value)}")
        self._say("")
        self._say("Try next:")
        kept = () if where is None else ((f"{command} --data {quote(where)}", what) for command, what in _OF_KEPT)
        offered = [each for each in (*kept, *NEXT) if each[0].partition(" ")[0] in NOUNS]
        widest = max(len(command) for command, _ in offered)
        for command, what in offered:
            self._say(f"  {PROGRAM} {command:{widest}}  # {what}")


def _summary(tally: Tally, seed: int) -> dict[str, object]:
    sent = tally.sent
    p50, p99 = tally.latency_ms(0.5), tally.latency_ms(0.99)
    return {
        "seed": seed,
        "records_published": sum(sent.values()),
        "interactions_published": sent["interaction"] + sent["event"],
        "updates_seen": sum(tally.updates.values()),
        "conversations_opened": tally.updates["conversation.opened"],
        "conversations_closed": dict(tally.closed),
        "conversations_linked": dict(tally.linked),
        "duplicates": sent["duplicate"],
        "duplicates_that_changed": tally.changed_by_repeats,
        "dead_letters": dict(sorted(tally.letters.items())),
        "unforeseen": dict(tally.unforeseen),
        "latency_ms": {} if p50 is None or p99 is None else {"p50": round(p50, 1), "p99": round(p99, 1)},
    }


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return str(value)
