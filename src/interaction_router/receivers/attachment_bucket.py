"""What came with mail, in a bucket of S3 or of what speaks as S3 does. Needs the extra `s3`."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import S3Store

from interaction_router.channels.mail import Attachment
from interaction_router.domain.errors import RetryableError
from interaction_router.settings import ReceiversAttachmentsS3Settings

if TYPE_CHECKING:
    from obstore.store import S3Config

_RETRYING: Final = timedelta(seconds=20)
"""How long a bucket may be away before the mail is: its server waits some minutes for an answer."""


class AttachmentBucket:
    """`<tenant>/<first two of the digest>/<digest>`; nothing in a name comes from the mail."""

    def __init__(self, at: ReceiversAttachmentsS3Settings, url: str | None) -> None:
        """Store in the bucket; links begin with `url` where a server of yours serves it, with `s3://` else."""
        self._url = f"s3://{at.bucket}" if url is None else url
        config: S3Config = {"bucket": at.bucket}
        if at.endpoint is not None:
            config["endpoint"] = at.endpoint
        if at.region is not None:
            config["region"] = at.region
        if at.access_key_id is not None and at.secret_access_key is not None:
            config["access_key_id"] = at.access_key_id
            config["secret_access_key"] = at.secret_access_key.get_secret_value()
        self._store = S3Store(
            config=config,
            client_options={"allow_http": True},
            retry_config={"max_retries": 3, "retry_timeout": _RETRYING},
        )

    async def store(self, tenant: str, attachments: Sequence[Attachment]) -> list[str | None]:
        """Return the links, once the bucket has the contents; storing one again changes nothing.

        Raises:
            RetryableError: the bucket does not take them.
        """
        places = {each.digest: f"{tenant}/{each.digest[:2]}/{each.digest}" for each in attachments}
        contents = {each.digest: each.content for each in attachments}
        try:
            await asyncio.gather(*(self._put(places[digest], content) for digest, content in contents.items()))
        except (BaseError, OSError, ValueError) as error:
            cause = f"Attachments: the bucket does not take them ({type(error).__name__})."
            advice = "Look at `receivers.attachments.s3`: is it the right bucket, and may this user write into it?"
            raise RetryableError("attachments_unavailable", cause, advice) from error
        return [f"{self._url}/{places[each.digest]}" for each in attachments]

    async def _put(self, place: str, content: bytes) -> None:
        await self._store.put_async(place, content, use_multipart=False)
