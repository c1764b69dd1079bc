"""sseclient-py on requests."""
import importlib

import requests

LOST = requests.RequestException
# Two packages install a module of this name. The folder (sseclient-py) hides the file (sseclient).
sseclient = importlib.import_module("sseclient")
assert hasattr(sseclient, "__path__"), "sseclient-py is not installed"


def read(url, cursor):
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": cursor} if cursor else {})}
    with requests.get(url, headers=headers, stream=True, timeout=45) as response:
        response.raise_for_status()
        for event in sseclient.SSEClient(response).events():
            yield event.event, event.id, event.data
