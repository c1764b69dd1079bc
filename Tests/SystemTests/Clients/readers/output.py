"""What the programs have in common: their output, the reconnect of clients that have none, and a parser for those without one."""
import hashlib
import json
import os
import sys
import threading
import time

# The output is for events alone: a client may print, too.
_output = os.dup(1)
os.dup2(2, 1)
_lock = threading.Lock()


def _write(members):
    line = memoryview(json.dumps(members).encode() + b"\n")
    with _lock:
        while line:
            line = line[os.write(_output, line):]


def _digest(value):
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def follow(reader, name, url):
    """Reads a URL with a module: its `read(url, cursor)` yields the events of one connection, as (type, id, data), and raises one
    of its errors `LOST` if the connection was lost. A client that reconnects by itself stays in `read`."""
    cursor = None
    try:
        while True:
            try:
                for kind, identifier, data in reader.read(url, cursor):
                    at = time.time()
                    # As programs do: an event without data ends them.
                    value = json.loads(data)
                    if identifier:
                        cursor = identifier
                    if len(data) > 65_536:
                        data = json.dumps({**value, "state": {"sha256": _digest(value["state"])}})
                    _write({"reading": name, "type": kind, "id": identifier, "data": data, "at": at})
                    if kind == "closing" and not value["reconnect"]:
                        return
            except reader.LOST as problem:
                print(f"{name}: {problem!r}", file=sys.stderr)
            time.sleep(0.1)
    except BaseException as problem:
        _write({"reading": name, "failure": f"{type(problem).__name__}: {problem}"})


def events(lines):
    """The events of a stream, from its lines as text without line ends."""
    kind, identifier, data = "message", None, []
    for line in lines:
        if not line:
            if data:
                yield kind, identifier, "\n".join(data)
            kind, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "id":
            identifier = value
        elif field == "data":
            data.append(value)


def lines(chunks):
    """The lines of byte chunks of any size, as text without line ends (LF or CRLF)."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode()
