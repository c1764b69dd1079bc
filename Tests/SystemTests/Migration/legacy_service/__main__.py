"""``python -m legacy_service PORT``: answers ``POST /`` with ``{"call": "module.function", "arguments": {…}}``.

The answer is 200 with ``{"result": …}``, or 500 with ``{"error": "…"}`` if the function raised.
"""

import asyncio
import importlib
import json
import sys
import traceback


async def perform(request):
    module, function = request["call"].rsplit(".", 1)
    result = getattr(importlib.import_module(f"legacy_service.{module}"), function)(**request.get("arguments", {}))
    return await result if asyncio.iscoroutine(result) else result


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = 0
            for line in head.decode("latin-1").split("\r\n"):
                name, _, value = line.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            body = await reader.readexactly(length)
            try:
                status, answer = "200 OK", {"result": await perform(json.loads(body))}
            except Exception:
                status, answer = "500 Internal Server Error", {"error": traceback.format_exc()}
            text = json.dumps(answer, default=str, separators=(",", ":")).encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    async with server:
        await server.serve_forever()


asyncio.run(main())
