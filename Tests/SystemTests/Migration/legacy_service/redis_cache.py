"""The legacy service's ``RedisCache``: states, samples, patterns, the registry of streams, locks, publishing, counters."""

import json
from datetime import datetime

import redis.asyncio

from . import settings

client = redis.asyncio.from_url(settings.REDIS_URL, decode_responses=True) if settings.REDIS_ENABLED and settings.REDIS_URL else None


async def get(key):
    """The value of a key; ``None`` if the key is absent or cannot be read, as the service answers its callers."""
    if client is None:
        return None
    try:
        value = await client.get(key)
        return json.loads(value) if value else None
    except Exception:
        return None


async def set(key, value, ttl=None):
    if client is None:
        return False
    try:
        await client.setex(key, ttl or settings.REDIS_DEFAULT_TTL, json.dumps(value, default=str))
        return True
    except Exception:
        return False


async def delete(key):
    if client is None:
        return False
    try:
        await client.delete(key)
        return True
    except Exception:
        return False


async def cache_flow_state(flow_id, state, ttl=3600):
    return await set(f"flow:state:{flow_id}", state, ttl)


async def get_flow_state(flow_id):
    return await get(f"flow:state:{flow_id}")


async def cache_import_sample(import_id, sample_data, ttl=3600):
    return await set(f"import:sample:{import_id}", sample_data, ttl)


async def get_import_sample(import_id):
    return await get(f"import:sample:{import_id}")


async def cache_mapping_pattern(pattern_key, pattern, ttl=86400):
    return await set(f"pattern:mapping:{pattern_key}", pattern, ttl)


async def get_mapping_pattern(pattern_key):
    return await get(f"pattern:mapping:{pattern_key}")


async def register_sse_connection(flow_id, connection_id, metadata):
    key = f"sse:connections:{flow_id}"
    connections = await get(key) or {}
    connections[connection_id] = {**metadata, "registered_at": datetime.utcnow().isoformat()}
    return await set(key, connections, 3600)


half_registered = {}


async def begin_sse_registration(flow_id, connection_id, metadata):
    """The first half of ``register_sse_connection``: a test forces another writer between its get and its set."""
    connections = await get(f"sse:connections:{flow_id}") or {}
    connections[connection_id] = {**metadata, "registered_at": datetime.utcnow().isoformat()}
    half_registered[flow_id] = connections


async def finish_sse_registration(flow_id):
    return await set(f"sse:connections:{flow_id}", half_registered.pop(flow_id), 3600)


async def unregister_sse_connection(flow_id, connection_id):
    key = f"sse:connections:{flow_id}"
    connections = await get(key) or {}
    if connection_id in connections:
        del connections[connection_id]
        return await set(key, connections, 3600)
    return True


async def get_sse_connections(flow_id):
    return await get(f"sse:connections:{flow_id}") or {}


async def acquire_lock(resource, ttl=30):
    if client is None:
        return "local-lock"
    lock_id = f"{datetime.utcnow().timestamp()}"
    try:
        return lock_id if await client.set(f"lock:{resource}", lock_id, nx=True, ex=ttl) else None
    except Exception:
        return None


async def release_lock(resource, lock_id):
    """The service compares the decoded value, a number, with its text: it never releases a lock, which ends with its TTL."""
    if client is None:
        return True
    if await get(f"lock:{resource}") == lock_id:
        return await delete(f"lock:{resource}")
    return False


async def publish_event(channel, event):
    if client is None:
        return False
    try:
        await client.publish(channel, json.dumps(event, default=str))
        return True
    except Exception:
        return False


async def increment_metric(metric_name, value=1):
    if client is None:
        return False
    key = f"metric:{metric_name}:{datetime.utcnow().strftime('%Y%m%d')}"
    try:
        await client.incrby(key, value)
        await client.expire(key, 604800)
        return True
    except Exception:
        return False
