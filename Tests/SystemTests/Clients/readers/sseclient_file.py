"""sseclient. It reads the connection below the HTTP client and does not know chunks: without `Connection: close` it takes the head
of a chunk for a line, and waits at the end of a stream."""
import importlib.metadata
import importlib.util

LOST = ()
# sseclient-py's folder of the same name hides this file.
_path = importlib.metadata.distribution("sseclient").locate_file("sseclient.py")
_spec = importlib.util.spec_from_file_location("sseclient_file_module", _path)
sseclient = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sseclient)
HEADERS = {"Connection": "close"}


def read(url, cursor):
    for event in sseclient.SSEClient(url, headers=dict(HEADERS)):
        yield event.event, event.id, event.data
