"""The legacy service's ``EnhancedStateManager``. Its database is a dictionary here: the hub never reads that table."""

from datetime import datetime

from . import redis_cache

states = {}


async def get_state(flow_id):
    cached = await redis_cache.get_flow_state(flow_id)
    if cached:
        return cached
    state = states.get(flow_id, {})
    await redis_cache.cache_flow_state(flow_id, state)
    return state


async def update_state(flow_id, updates):
    states.setdefault(flow_id, {}).update(updates)
    await redis_cache.delete(f"flow:state:{flow_id}")
    await redis_cache.publish_event(
        f"flow:updates:{flow_id}",
        {"type": "state_update", "flow_id": flow_id, "updates": updates, "timestamp": datetime.utcnow().isoformat()},
    )
