"""aiohttp, line by line."""
import aiohttp

from .asynchronous import iterate
from .output import events

LOST = (aiohttp.ClientError, TimeoutError)


async def _lines(url, cursor):
    headers = {"Last-Event-ID": cursor} if cursor else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=45)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, headers=headers) as response:
        response.raise_for_status()
        async for line in response.content:
            yield line.decode().rstrip("\r\n")


def read(url, cursor):
    yield from events(iterate(_lines(url, cursor)))
