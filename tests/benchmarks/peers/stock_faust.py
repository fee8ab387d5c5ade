"""The bare job of assignment as a stock Faust agent: default settings, one Redis GET and SET a record.

Run by the benchmark: python -m tests.benchmarks.peers.stock_faust BROKER REDIS_URL SOURCE SINK FOLDER
"""

import sys
from typing import Any
from uuid import uuid4

import faust
import orjson
from redis.asyncio import Redis


def build(broker: str, redis_url: str, source: str, sink: str, folder: str) -> faust.App:
    """Return the app; what differs from the defaults is where it finds and puts things."""
    app = faust.App("stock-faust", broker=f"kafka://{broker}", datadir=folder, web_enabled=False)
    redis = Redis.from_url(redis_url)
    updates = app.topic(sink)

    async def assign(stream: Any) -> None:  # Any: Faust's stream, and what JSON holds
        async for interaction in stream:
            key = f"conversation:{interaction['tenant']}:{interaction['contact_id']}"
            found = await redis.get(key)
            conversation: dict[str, Any] = {"id": str(uuid4()), "seq": 0} if found is None else orjson.loads(found)
            conversation["seq"] += 1
            await redis.set(key, orjson.dumps(conversation))
            update = {
                "type": "conversation.interaction_added",
                "tenant": interaction["tenant"],
                "conversation_id": conversation["id"],
                "seq": conversation["seq"],
                "contact_id": interaction["contact_id"],
                "status": "open",
                "interaction": interaction,
            }
            await updates.send(key=conversation["id"], value=update)

    app.agent(app.topic(source))(assign)
    return app


if __name__ == "__main__":
    faust.Worker(build(*sys.argv[1:]), loglevel="warning").execute_from_commandline()
