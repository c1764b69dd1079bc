"""Programs that read event streams with the HTTP clients of the field, one module for each client.

`python -m readers MODULE` reads lines `NAME URL` from its standard input, follows each URL on a thread of its own, and prints one
JSON object for each event: {"reading": NAME, "type", "id", "data", "at"}, where `at` is the Unix time in seconds. In data of more
than 64 KiB, the state is {"sha256"}: the hash of its JSON without white space. If it must give up, it prints {"reading": NAME,
"failure"}. It ends with its standard input.
"""
