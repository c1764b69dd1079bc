"""A crew that reports its progress: state updates at a steady rate, as the legacy service's ``update_state`` publishes them."""

import asyncio

from . import state_manager

_task = None
_published = 0
_stopping = None


async def _run(flow_ids, per_second):
    global _published
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not _stopping.is_set():
        number = _published
        await state_manager.update_state(flow_ids[number % len(flow_ids)], {f"n{number}": number, "last": number})
        _published += 1
        delay = start + _published / per_second - loop.time()
        if delay > 0:
            try:
                await asyncio.wait_for(_stopping.wait(), delay)
            except asyncio.TimeoutError:
                pass


def start(flow_ids, per_second):
    """Starts to publish, to the flows in turn. Message ``i`` sets the members ``n<i>`` and ``last`` to ``i``."""
    global _task, _published, _stopping
    _published = 0
    _stopping = asyncio.Event()
    _task = asyncio.get_running_loop().create_task(_run(flow_ids, per_second))


async def stop():
    """Stops to publish. Answers the number of messages."""
    _stopping.set()
    await _task
    return _published


def published():
    """The number of messages so far."""
    return _published
