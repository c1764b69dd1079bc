"""Runs asynchronous clients on the thread that reads."""
import asyncio


def iterate(items):
    """The items of an asynchronous generator, on an event loop of this thread."""
    with asyncio.Runner() as runner:
        while True:
            try:
                item = runner.run(anext(items))
            except StopAsyncIteration:
                return
            yield item
