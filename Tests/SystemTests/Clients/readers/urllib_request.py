"""Python's own library."""
import http.client
import urllib.request

from .output import events

LOST = (OSError, http.client.HTTPException)


def read(url, cursor):
    request = urllib.request.Request(url, headers={"Last-Event-ID": cursor} if cursor else {})
    with urllib.request.urlopen(request, timeout=45) as response:
        yield from events(line.decode().rstrip("\r\n") for line in response)
