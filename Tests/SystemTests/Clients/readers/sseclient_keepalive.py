"""sseclient as its documentation uses it, without `Connection: close`."""
from . import sseclient_file

LOST = ()


def read(url, cursor):
    for event in sseclient_file.sseclient.SSEClient(url):
        yield event.event, event.id, event.data
