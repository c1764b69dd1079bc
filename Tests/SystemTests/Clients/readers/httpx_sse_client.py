"""httpx-sse."""
import httpx
import httpx_sse

LOST = httpx.TransportError


def read(url, cursor):
    headers = {"Last-Event-ID": cursor} if cursor else {}
    with httpx.Client(timeout=45) as client, httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
        for event in source.iter_sse():
            yield event.event, event.id, event.data
