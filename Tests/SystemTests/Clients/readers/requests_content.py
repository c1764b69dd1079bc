"""requests, in pieces of up to 512 bytes."""
import requests

from .output import events, lines

LOST = requests.RequestException


def read(url, cursor):
    headers = {"Last-Event-ID": cursor} if cursor else {}
    with requests.get(url, headers=headers, stream=True, timeout=45) as response:
        response.raise_for_status()
        yield from events(lines(response.iter_content(512)))
