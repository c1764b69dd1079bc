import importlib
import os
import sys
import threading

from .output import follow

reader = importlib.import_module(f"{__package__}.{sys.argv[1]}")
for line in sys.stdin:
    name, url = line.split()
    threading.Thread(target=follow, args=(reader, name, url), daemon=True).start()
os._exit(0)
