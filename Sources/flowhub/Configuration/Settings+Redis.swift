import FlowRedis

extension Setting {
    /// How often an instance sends commands to Redis of its own accord, and what it shares there with the legacy service.
    static let redisUse: [Setting] = [
        .number(
            "FLOWHUB_REDIS_HEARTBEAT_MS", \.redisServices.heartbeatMilliseconds, 100...60_000,
            "Interval of the liveness heartbeat in Redis, in milliseconds; an instance without one for three intervals is dead."),
        .number(
            "FLOWHUB_REDIS_SWEEP_MS", \.redisServices.sweepMilliseconds, 1_000...3_600_000,
            "Interval at which an instance removes the streams of dead instances from the registry, in milliseconds."),
        .number(
            "FLOWHUB_PRESENCE_MS", \.redisServices.presenceMilliseconds, 100...60_000,
            "Interval at which an instance reads the numbers of streams on others, in milliseconds, while presence is watched."),
        .number(
            "FLOWHUB_COUNTER_SECONDS", \.redisServices.counterSeconds, 1...3_600,
            "Interval at which usage counters that have changed are added to those in Redis, in seconds."),
        .flag(
            "FLOWHUB_REDIS_THRIFTY", \.redisServices.isThrifty,
            "Send few commands to Redis while nobody watches a flow on this instance: see FLOWHUB_REDIS_IDLE_SECONDS."),
        .number(
            "FLOWHUB_REDIS_IDLE_SECONDS", \.redisServices.idleSeconds, 1...300,
            "Interval of heartbeats, canaries and sweeps in Redis of a thrifty instance while nobody watches, in seconds."),
        .flag(
            "FLOWHUB_SEED_PATTERNS", \.acceptsSeedPatterns,
            "Accept mappings that the legacy service wrote to Redis as mapping patterns of its account (FLOWHUB_SEED_ACCOUNT)."),
    ]
}
