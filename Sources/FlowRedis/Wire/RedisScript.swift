import Crypto

/// A Lua script that is called by its SHA-1 digest (`EVALSHA`).
struct RedisScript: Sendable {
    private let source: [UInt8]
    private let digest: String

    /// - Parameter source: the Lua text in UTF-8.
    init(_ source: [UInt8]) {
        self.source = source
        let hex = Insecure.SHA1.hash(data: source).map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        self.digest = hex.joined()
    }

    /// Command that loads the script. Sent on each new connection, since a restarted server has no scripts.
    var load: RESPCommand {
        var command = RESPCommand("SCRIPT", "LOAD")
        command.add(self.source)
        return command
    }

    /// Command that calls the script by its digest. The caller appends the script's arguments (ARGV) to the command.
    /// - Parameter keys: the Redis keys that the script uses (KEYS).
    func call(keys: [String]) -> RESPCommand {
        var command = RESPCommand("EVALSHA", self.digest)
        command.add(keys.count)
        for key in keys { command.add(key) }
        return command
    }
}

extension RedisLink {
    /// Calls a script and waits at most `milliseconds` for the reply. If the server does not have the script, loads it and
    /// calls it again, with the same timeout.
    /// - Throws: ``RedisError``, also for an error reply.
    func run(_ script: RedisScript, _ call: RESPCommand, within milliseconds: Int) async throws(RedisError) -> RESPValue {
        var replies = try await self.run([call], within: milliseconds)
        if replies.first?.isMissingScript == true { replies = try await self.run([script.load, call], within: milliseconds) }
        guard let reply = replies.last else { throw .unexpected }
        if let errorReply = reply.errorReply { throw RedisError(reply: errorReply) }
        return reply
    }
}

extension RedisScript {
    static let putState = RedisScript(PackageResources.put_state_lua)
    static let putLatestTransient = RedisScript(PackageResources.put_latest_transient_lua)
    static let register = RedisScript(PackageResources.register_lua)
    static let heartbeat = RedisScript(PackageResources.heartbeat_lua)
    static let unregisterInstance = RedisScript(PackageResources.unregister_instance_lua)
    static let checkConnections = RedisScript(PackageResources.check_connections_lua)
    static let sweepInstance = RedisScript(PackageResources.sweep_instance_lua)
    static let lockAcquire = RedisScript(PackageResources.lock_acquire_lua)
    static let lockUpdate = RedisScript(PackageResources.lock_update_lua)
    static let patternPut = RedisScript(PackageResources.pattern_put_lua)
    static let patternRemove = RedisScript(PackageResources.pattern_remove_lua)
    static let canary = RedisScript(PackageResources.canary_lua)
    static let instances = RedisScript(PackageResources.instances_lua)
    static let lease = RedisScript(PackageResources.lease_lua)
    static let leaseRelease = RedisScript(PackageResources.lease_release_lua)

    /// The scripts that are loaded on each new connection.
    static let all = [
        Self.putState, Self.putLatestTransient, Self.register, Self.heartbeat, Self.unregisterInstance, Self.checkConnections,
        Self.sweepInstance, Self.lockAcquire, Self.lockUpdate, Self.patternPut, Self.patternRemove, Self.lease, Self.leaseRelease,
        Self.canary, Self.instances,
    ]
}

extension RESPValue {
    /// Whether the reply reports that the server does not have the script that was called.
    var isMissingScript: Bool { self.errorReply?.hasPrefix("NOSCRIPT") == true }
}
