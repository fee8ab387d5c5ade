"""`dlq`: look at dead letters, send them back, or put them away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from interaction_router.cli.app import RouterGroup
from interaction_router.cli.faults import DONE, FOUND_A_FAULT, INTERRUPTED
from interaction_router.cli.interrupting import run_interruptible
from interaction_router.cli.invocation import Function, Invocation, json_option
from interaction_router.cli.letter_rows import letter_json, letter_row, show_letter
from interaction_router.cli.moments import check_span, span_options
from interaction_router.cli.progress import Progress
from interaction_router.cli.storage import data_option, login_name, page_options
from interaction_router.domain.errors import FatalError

if TYPE_CHECKING:
    from interaction_router.application.handled import HandledLetters
    from interaction_router.application.letters import Letter, LetterFilter, LetterPlace
    from interaction_router.application.redriving import Redriving
    from interaction_router.ports import Log, Received

Answer = TypeVar("Answer")
STAGES: Final = ("intake", "assignment", "receive")
COLUMNS: Final = {
    "place": "place",
    "at": "at",
    "code": "code",
    "stage": "stage",
    "source": "from",
    "message": "message",
    "handled": "handled",
}
COUNT_COLUMNS: Final = {"letters": "letters", "code": "code", "stage": "stage", "topic": "topic"}
NONE: Final = "no dead letters"
NONE_CHOSEN: Final = f"{NONE} that the choice names; `dlq list --counts` has all others"
EXAMPLES: Final = 5
"""So many letters are named of those that would be redriven."""


@click.group("dlq", cls=RouterGroup, short_help="Look at dead letters, send them back, or put them away.")
def noun() -> None:
    """Look at dead letters, send them back to the topics that they came from, or put them away.

    PLACE is where a letter stands, 3@17 (partition and offset in the topic of dead letters), or where the refused
    record stood, router.interactions.sms.v1/3@812. A letter that appears again after a crash is one letter.
    """


def filter_options(function: Function) -> Function:
    """Give a command the options that choose letters."""
    options = (
        click.option("--code", "codes", multiple=True, metavar="CODE", help="Only of this code; repeatable."),
        click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Only from this topic; repeatable."),
        click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Only refused there."),
        span_options,
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about: those at places, or those that the filter takes."""

    places: tuple[str, ...]
    wanted: "LetterFilter"
    again: bool = False


@noun.command("list")
@filter_options
@click.option("--all", "everything", is_flag=True, help="Also those that were redriven or discarded.")
@click.option("--counts", is_flag=True, help="Count them by code, stage and topic instead.")
@page_options(after="PLACE", behind="letter")
@data_option
@json_option
@click.pass_obj
def list_(
    invocation: Invocation, /, *, everything: bool, counts: bool, limit: int, after: str | None, **given: Any
) -> None:
    """List dead letters, the newest first."""
    from interaction_router.application import redriving  # noqa: PLC0415 - `--help` needs no clients
    from interaction_router.application.letters import LetterFilter  # noqa: PLC0415 - likewise

    choice = _choice(invocation, (), given)

    async def look(work: "_Work") -> "tuple[list[Letter], HandledLetters]":
        await work.handled.follow_if_there()
        letters = [letter async for letter in work.letters.scan(choice.wanted)]
        return letters if everything else redriving.unhandled(letters, work.handled), work.handled

    letters, handled = asyncio.run(_with_letters(invocation, look))
    empty = NONE if choice.wanted == LetterFilter() else NONE_CHOSEN
    if counts:
        invocation.output.table(redriving.counts(letters), COUNT_COLUMNS, empty=empty)
        return
    letters.sort(key=_newest_first)
    if after is not None:
        letters = _behind(letters, after, invocation)
    shown = letters[:limit]
    rows = [letter_row(each, handled.of(each.name)) for each in shown]
    if invocation.as_json:
        invocation.output.document([letter_json(each, handled.of(each.name)) for each in shown])
    else:
        invocation.output.table(rows, COLUMNS, empty=empty)
    if len(letters) > limit:
        invocation.output.note(f"{len(letters) - limit} more: --after {shown[-1].short_place}")


@noun.command()
@click.argument("place", metavar="PLACE")
@click.option("--raw", is_flag=True, help="Write out the bytes as they came, and nothing else.")
@data_option
@json_option
@click.pass_obj
def show(invocation: Invocation, place: str, *, raw: bool) -> None:
    """Show one dead letter: why it was refused, from where, its headers and its bytes.

    This prints what a customer may have written. With --raw the bytes are written untouched, for a file or a pipe.
    """
    if raw and invocation.as_json:
        raise click.UsageError("--raw writes bytes, --json prints JSON: choose one")
    wanted = _place(invocation, place)

    async def look(work: "_Work") -> "tuple[Letter, Received, HandledLetters]":
        await work.handled.follow_if_there()
        return (*await work.letters.find(wanted), work.handled)

    letter, record, handled = asyncio.run(_with_letters(invocation, look))
    if raw:
        stream = click.get_binary_stream("stdout")
        stream.write(record.value or b"")
        stream.flush()
        return
    show_letter(invocation, letter, record, handled.of(letter.name))


@noun.command()
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All that were not handled yet.")
@click.option("--again", is_flag=True, help="Also those that were redriven or discarded before.")
@click.option(
    "--edit", is_flag=True, help="Open what the one letter holds in $EDITOR first, and send what comes of it."
)
@click.option(
    "--value", type=click.File("rb"), metavar="FILE", help="Send the bytes of this file instead; - for stdin."
)
@click.option("--yes", is_flag=True, help="Do it; without it, only say what would be done.")
@data_option
@json_option
@click.pass_obj
def redrive(
    invocation: Invocation,
    /,
    places: tuple[str, ...],
    *,
    edit: bool,
    value: IO[bytes] | None,
    yes: bool,
    **given: Any,
) -> int:
    """Send dead letters back to the topics that they came from, each once: key, bytes and headers as they came.

    The headers that say why it was refused go, and `redriven_from` names the letter. Where the record is refused again,
    the new letter has that header too. What was redriven is remembered, and refused a second time.
    """
    if (edit or value is not None) and len(places) != 1:
        raise click.UsageError("--edit and --value are for one letter: give its PLACE")
    if edit and (value is not None or not yes):
        raise click.UsageError("--edit goes with --yes, and not with --value")
    choice = _choice(invocation, places, given)
    replacement = None if value is None else value.read()

    async def work_on(stop: asyncio.Event) -> int:
        async def send(work: "_Work") -> int:
            letters, hopeless = await _to_redrive(work, choice)
            instead = replacement
            if edit:
                instead = _edited(invocation, (await work.letters.record(letters[0])).value or b"")
            if not yes:
                return _would(invocation, "redrive", letters, hopeless)
            return await _redrive(invocation, work, letters, hopeless, value=instead, stop=stop)

        return await _with_letters(invocation, send)

    return run_interruptible(work_on)


@noun.command()
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@filter_options
@click.option("--all", "everything", is_flag=True, help="All that were not handled yet.")
@click.option("--yes", is_flag=True, help="Do it; without it, only say what would be done.")
@data_option
@json_option
@click.pass_obj
def discard(invocation: Invocation, /, places: tuple[str, ...], *, yes: bool, **given: Any) -> int:
    """Put dead letters away: they are marked as handled, and stay in their topic until its retention ends."""
    choice = _choice(invocation, places, given)

    async def put_away(work: "_Work") -> int:
        letters = await _chosen(work, choice)
        if not yes:
            return _would(invocation, "discard", letters, {})
        await work.redriving.discard(letters, actor=login_name())
        if invocation.as_json:
            invocation.output.document({"dry_run": False, "discarded": [each.short_place for each in letters]})
        else:
            invocation.output.note(f"{_letters(len(letters))} discarded")
        return DONE

    return asyncio.run(_with_letters(invocation, put_away))


class _Work:
    """What the commands work with."""

    def __init__(self, invocation: Invocation, log: "Log") -> None:
        from interaction_router.application.handled import HandledLetters  # noqa: PLC0415 - `--help` needs no clients
        from interaction_router.bootstrap.letters import letters_of, redriving_of  # noqa: PLC0415 - likewise

        settings = invocation.settings()
        self.letters = letters_of(settings, log)
        self.handled = HandledLetters(log)
        self.redriving: Redriving = redriving_of(settings, log, self.letters, self.handled)
        self.places: Callable[[str], LetterPlace] = lambda text: _place(invocation, text)


async def _with_letters(invocation: Invocation, work: Callable[[_Work], Awaitable[Answer]]) -> Answer:
    from interaction_router.bootstrap.storage import opened_log  # noqa: PLC0415 - `--help` needs no clients

    async with opened_log(invocation.settings()) as log:
        return await work(_Work(invocation, log))


def _choice(invocation: Invocation, places: tuple[str, ...], given: dict[str, Any]) -> Choice:
    """Return which letters are meant; a command that changes something wants to be told."""
    from interaction_router.application.letters import LetterFilter  # noqa: PLC0415 - `--help` needs no clients

    check_span(given["from_ms"], given["until_ms"])
    prefix = f"{invocation.settings().namespace}."
    topics = [each if each.startswith((prefix, "gateways/")) else f"{prefix}{each}" for each in given["topics"]]
    wanted = LetterFilter(
        frozenset(given["codes"]), frozenset(topics), frozenset(given["stages"]), given["from_ms"], given["until_ms"]
    )
    if "everything" in given:
        narrowed = wanted != LetterFilter()
        if bool(places) + narrowed + given["everything"] != 1:
            raise click.UsageError("say which letters: a PLACE or several, or filters such as --code, or --all")
    return Choice(places, wanted, again=given.get("again", False))


def _place(invocation: Invocation, text: str) -> "LetterPlace":
    from interaction_router.application.letters import read_place  # noqa: PLC0415 - `--help` needs no clients

    place = read_place(text, namespace=invocation.settings().namespace)
    if place is None:
        raise click.UsageError(f"{text} is no place of a letter: 3@17, or TOPIC/3@812 of the record that was refused")
    return place


async def _chosen(work: _Work, choice: Choice) -> "list[Letter]":
    """Return the letters that are meant.

    Raises:
        FatalError: one that was named is not there, or was handled before; or there is none.
    """
    from interaction_router.application.redriving import unhandled  # noqa: PLC0415 - `--help` needs no clients

    await work.handled.follow()
    if choice.places:
        named = {}
        for text in choice.places:
            letter, _ = await work.letters.find(work.places(text))
            handling = work.handled.of(letter.name)
            if handling is not None and handling.state != "redriving" and not choice.again:
                did = handling.state + (f" to {handling.to}" if handling.to else "")
                cause = f"The dead letter at {letter.short_place}, of {letter.name}, was {did} before."
                raise FatalError("letter_handled", cause, "`redrive --again` sends it once more all the same.")
            named[letter.name] = letter
        return list(named.values())
    letters = [letter async for letter in work.letters.scan(choice.wanted)]
    chosen = letters if choice.again else unhandled(letters, work.handled)
    if not chosen:
        handled = f"; {len(letters)} that it names were handled before" if letters else ""
        cause = f"There is no dead letter that the choice names and that was not handled{handled}."
        raise FatalError("nothing_chosen", cause, "Look with `interaction-router dlq list --all`.")
    return chosen


async def _to_redrive(work: _Work, choice: Choice) -> "tuple[list[Letter], dict[str, Letter]]":
    """Return the letters that are to be sent, and those that cannot be, by why."""
    sendable: list[Letter] = []
    hopeless: dict[str, Letter] = {}
    for letter in await _chosen(work, choice):
        objection = await work.redriving.objection(letter)
        if objection is None:
            sendable.append(letter)
        else:
            hopeless[f"{letter.short_place}: {objection}"] = letter
    if hopeless and (choice.places or not sendable):
        advice = "Mend the cause and let the sender send again; `dlq discard` puts the letter away."
        raise FatalError("letter_not_redrivable", f"The dead letter at {next(iter(hopeless))}.", advice)
    return sendable, hopeless


async def _redrive(
    invocation: Invocation,
    work: _Work,
    letters: "Sequence[Letter]",
    hopeless: "dict[str, Letter]",
    *,
    value: bytes | None,
    stop: asyncio.Event,
) -> int:
    """Send the letters until all are sent or somebody interrupts; tell of each where its record stands."""
    progress = Progress("letters redriven", len(letters))
    try:
        async for batch in work.redriving.redrive(letters, actor=login_name(), value=value):
            for each in batch:
                before = " (an earlier run had sent it)" if each.found else ""
                fields = {"place": each.letter.short_place, "to": each.to, "sent_before": each.found}
                try:
                    invocation.output.line(f"{each.letter.short_place} → {each.to}{before}", fields)
                except BrokenPipeError:
                    stop.set()  # who has read along is gone
            progress.advance(len(batch))
            if stop.is_set():
                break
    finally:
        progress.close()
    for why in hopeless:
        invocation.output.note(f"not redriven: {why}")
    invocation.output.note(f"{_letters(progress.done)} redriven")
    if progress.done < len(letters):
        left = len(letters) - progress.done
        invocation.output.note(f"interrupted, {left} left: the same command again goes on with them")
        return INTERRUPTED
    return FOUND_A_FAULT if hopeless else DONE


def _would(invocation: Invocation, deed: str, letters: "Sequence[Letter]", hopeless: "dict[str, Letter]") -> int:
    """Say what would be done."""
    from interaction_router.application.redriving import counts  # noqa: PLC0415 - `--help` needs no clients

    if invocation.as_json:
        places = [each.short_place for each in letters]
        invocation.output.document({"dry_run": True, deed: places, "not_possible": list(hopeless)})
        return DONE
    invocation.output.table(counts(letters), COUNT_COLUMNS)
    for letter in letters[:EXAMPLES]:
        invocation.output.text(f"would {deed} {letter.short_place} {letter.code} {letter.name}")
    if len(letters) > EXAMPLES:
        invocation.output.text(f"would {deed} {len(letters) - EXAMPLES} more")
    for why in hopeless:
        invocation.output.note(f"cannot {deed} {why}")
    invocation.output.note("nothing was changed; --yes does it")
    return DONE


def _edited(invocation: Invocation, value: bytes) -> bytes:
    """Return what a person makes of the bytes in an editor."""
    editor = invocation.env.get("VISUAL") or invocation.env.get("EDITOR")
    try:
        edited = click.edit(value, editor=editor, extension=".json", require_save=False)
    except click.ClickException as error:
        cause = f"The editor did not end well ({error.format_message()}); nothing was sent."
        raise FatalError("not_edited", cause, "Name another with EDITOR.") from error
    if edited is None or edited == value:
        raise FatalError("not_edited", "The editor left the bytes as they were; nothing was sent.", "")
    return edited


def _behind(letters: "list[Letter]", after: str, invocation: Invocation) -> "list[Letter]":
    """Return the letters of the next page."""
    place = _place(invocation, after)
    for at, letter in enumerate(letters):
        if (letter.place.partition, letter.place.offset) == (place.partition, place.offset):
            return letters[at + 1 :]
    cause = f"No letter of this list stands at {after}."
    raise FatalError(
        "letter_unknown", cause, "It may have been handled meanwhile: begin without --after, or use --all."
    )


def _newest_first(letter: "Letter") -> tuple[int, int, int]:
    return (-letter.stamp_ms, -letter.place.partition, -letter.place.offset)


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters"
