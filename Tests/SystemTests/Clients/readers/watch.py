"""`flowhub watch --json`, with the hub's program in FLOWHUB_BINARY. It reconnects by itself."""
import json
import os
import subprocess
import urllib.parse

LOST = ()


def read(url, cursor):
    parts = urllib.parse.urlsplit(url)
    command = [os.environ["FLOWHUB_BINARY"], "watch", parts.path.split("/")[3], "--json", "--url", f"http://{parts.netloc}"]
    types = urllib.parse.parse_qs(parts.query).get("types")
    with subprocess.Popen(command + (["--types", types[0]] if types else []), stdout=subprocess.PIPE) as process:
        try:
            for line in process.stdout:
                event = json.loads(line)
                yield event["event"], event["id"], json.dumps(event["data"])
        finally:
            process.kill()
