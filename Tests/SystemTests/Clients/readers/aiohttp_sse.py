"""aiohttp-sse-client. It reconnects by itself after the end of a stream, but not after a lost connection."""
import aiohttp
from aiohttp_sse_client.client import EventSource

from .asynchronous import iterate

LOST = (aiohttp.ClientError, ConnectionError)


async def _events(url, cursor):
    headers = {"Last-Event-Id": cursor} if cursor else {}
    async with EventSource(url, headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as source:
        async for event in source:
            yield event.type, event.last_event_id, event.data


def read(url, cursor):
    yield from iterate(_events(url, cursor))
