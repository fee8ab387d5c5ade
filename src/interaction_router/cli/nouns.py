"""Which nouns there are. A noun is one file here, with a command `noun` in it, and one line in `NOUNS`."""

from typing import Final, NamedTuple


class Noun(NamedTuple):
    """A noun's heading in the help, and its first line there; the file is loaded only when the noun is used."""

    heading: str
    summary: str


PROGRAM: Final = "interaction-router"
COMPLETION_VARIABLE: Final = "_INTERACTION_ROUTER_COMPLETE"

RUN = "Run"
LOOK = "Look and act"
SET_UP = "Set up"

NOUNS: Final = {
    "demo": Noun(RUN, "Run everything in one process, with simulated gateways; no server needed."),
    "worker": Noun(RUN, "Assign interactions to conversations, on Kafka and Redis."),
    "receive": Noun(RUN, "Take events in from gateways, mail servers and switches."),
    "simulate": Noun(RUN, "Send the load of simulated gateways to Kafka."),
    "conversations": Noun(LOOK, "List, show, close, link and unlink conversations."),
    "contacts": Noun(LOOK, "List, save, show, find, merge, delete and erase contacts."),
    "agents": Noun(LOOK, "List, show, set and remove agents and their channels."),
    "tail": Noun(LOOK, "Follow updates, or dead letters, as they come."),
    "dlq": Noun(LOOK, "Look at dead letters, send them back, or put them away."),
    "replay": Noun(LOOK, "Replay updates for a subscriber, or the whole log for another router."),
    "topics": Noun(SET_UP, "Create and check the topics."),
    "channels": Noun(SET_UP, "Show which gateways there are, and what a payload of one becomes."),
    "doctor": Noun(SET_UP, "Look for what is wrong with the servers, and say what to do."),
    "state": Noun(SET_UP, "Compare the tables with the outcomes, and make them anew."),
    "config": Noun(SET_UP, "Check, show and explain the settings."),
    "completion": Noun(SET_UP, "Print the completion script of a shell."),
}
