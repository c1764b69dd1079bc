"""curl, whose output is read line by line."""
import subprocess

from .output import events

LOST = ()


def read(url, cursor):
    header = ["-H", f"Last-Event-ID: {cursor}"] if cursor else []
    with subprocess.Popen(["curl", "-sN", *header, url], stdout=subprocess.PIPE) as process:
        try:
            yield from events(line.decode().rstrip("\r\n") for line in process.stdout)
        finally:
            process.kill()
