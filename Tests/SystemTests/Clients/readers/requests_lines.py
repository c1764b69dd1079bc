"""requests, line by line."""
import requests

from .output import events

LOST = requests.RequestException


def read(url, cursor):
    headers = {"Last-Event-ID": cursor} if cursor else {}
    with requests.get(url, headers=headers, stream=True, timeout=45) as response:
        response.raise_for_status()
        yield from events(response.iter_lines(decode_unicode=True))
