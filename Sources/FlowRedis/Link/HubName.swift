/// The key `hub:name`, by which a hub marks a Redis database as its own.
enum HubName {
    static let key = "hub:name"
    /// Maximum TTL in milliseconds of the name that a live hub writes: three heartbeats, which are at most 5 min apart
    /// (`FLOWHUB_REDIS_IDLE_SECONDS`). One that lasts longer, or for ever, was not written by a hub.
    static let maximumMilliseconds: Int64 = 900_000

    /// The commands that read the name. A forged one may have any length.
    static let query = [RESPCommand("GETRANGE", Self.key, "0", "255"), RESPCommand("PTTL", Self.key)]

    /// Whether the replies to ``query`` show the name of another hub that is alive.
    static func isOther(_ replies: [RESPValue], than hub: String) -> Bool {
        // A key of another type is not a hub's.
        guard replies.count == 2, let name = replies[0].text, !name.isEmpty, name != hub, let ttl = replies[1].integer else {
            return false
        }
        return (0...Self.maximumMilliseconds).contains(ttl)
    }
}
