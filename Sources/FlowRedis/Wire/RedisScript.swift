import Crypto

/// A script that the server keeps by its digest.
struct RedisScript: Sendable {
    private let source: [UInt8]
    private let digest: String

    init(_ source: [UInt8]) {
        self.source = source
        let hex = Insecure.SHA1.hash(data: source).map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        self.digest = hex.joined()
    }

    /// For the beginning of a connection: a server that was restarted knows no script.
    var load: RESPCommand {
        var command = RESPCommand("SCRIPT", "LOAD")
        command.add(self.source)
        return command
    }

    /// The call by its digest, or with the whole source for a server that answered `NOSCRIPT`.
    func call(keys: [String], bySource: Bool = false) -> RESPCommand {
        var command = bySource ? RESPCommand("EVAL") : RESPCommand("EVALSHA", self.digest)
        if bySource { command.add(self.source) }
        command.add(keys.count)
        for key in keys { command.add(key) }
        return command
    }
}

extension RedisScript {
    static let putState = RedisScript(PackageResources.put_state_lua)
    static let putLast = RedisScript(PackageResources.put_last_lua)

    static let all = [Self.putState, Self.putLast]
}

extension RESPValue {
    var isMissingScript: Bool { self.refusal?.hasPrefix("NOSCRIPT") == true }
}
