"""urllib3, in pieces of its default size (64 KiB)."""
import urllib3

from .output import events, lines

LOST = urllib3.exceptions.HTTPError
pool = urllib3.PoolManager(maxsize=20, timeout=45, retries=False)


def read(url, cursor):
    headers = {"Last-Event-ID": cursor} if cursor else {}
    response = pool.request("GET", url, headers=headers, preload_content=False)
    try:
        yield from events(lines(response.stream()))
    finally:
        response.release_conn()
