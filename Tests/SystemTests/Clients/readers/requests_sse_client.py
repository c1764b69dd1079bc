"""requests-sse. It reconnects by itself."""
import requests_sse

LOST = ()


def read(url, cursor):
    with requests_sse.EventSource(url, timeout=45) as source:
        for event in source:
            yield event.type, event.last_event_id, event.data
