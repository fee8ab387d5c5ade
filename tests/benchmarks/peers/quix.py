"""The bare job of assignment in Quix Streams: default settings, its own state store with its changelog.

Run by the benchmark, in an environment that has Quix Streams and nothing of this program:
python quix.py BROKER SOURCE SINK FOLDER
"""

import sys
from typing import Any
from uuid import uuid4

from quixstreams import Application, State  # type: ignore[import-not-found]  # in an environment of its own


def assign(interaction: dict[str, Any], state: State) -> dict[str, Any]:  # Any: JSON
    """Return the update of one interaction; the state is that of the record's key, the contact."""
    conversation = state.get("conversation") or {"id": str(uuid4()), "seq": 0}
    conversation["seq"] += 1
    state.set("conversation", conversation)
    return {
        "type": "conversation.interaction_added",
        "tenant": interaction["tenant"],
        "conversation_id": conversation["id"],
        "seq": conversation["seq"],
        "contact_id": interaction["contact_id"],
        "status": "open",
        "interaction": interaction,
    }


def main(broker: str, source: str, sink: str, folder: str) -> None:
    """Run until the process is ended."""
    app = Application(
        broker_address=broker, consumer_group="quix", auto_offset_reset="earliest", state_dir=folder, loglevel="WARNING"
    )
    frame = app.dataframe(app.topic(source, value_deserializer="json"))
    updates = app.topic(sink, value_serializer="json")
    frame.apply(assign, stateful=True).to_topic(updates, key=lambda update: update["conversation_id"])
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
