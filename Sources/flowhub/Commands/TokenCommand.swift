import ArgumentParser
import FlowCore
import FlowHTTP
import Foundation

/// `flowhub token`
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Create a token for development, or check one.",
        discussion: """
            EXAMPLES
              flowhub token --subject me --subscribe '*' --publish '*'
              flowhub token check - < token.txt

            `flowhub token create --help` lists the options of the first form.
            """,
        subcommands: [TokenCreateCommand.self, TokenCheckCommand.self],
        defaultSubcommand: TokenCreateCommand.self)
}

/// `flowhub token create`, also without `create`.
struct TokenCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a token for development.",
        discussion: """
            Signs with HS256 and the key in FLOWHUB_JWT_KEY (at least 32 bytes), which the hub must use too. In production, \
            issue tokens with your own login service. A pattern is a flow id, or a prefix followed by *. Without --subscribe \
            and --publish the token grants no access to flows.

            EXAMPLES
              flowhub token --subject me --subscribe '*' --publish '*'
              export FLOWHUB_TOKEN=$(flowhub token --subject ci --publish 'import-*' --ttl 15m)
              flowhub token --subject ops --account 7 --scope admin --scope locks --ttl 8h

            EXIT CODES: 0 success; 2 invalid usage, or a missing or invalid key.
            """)

    @Option(help: "The subject of the token (claim sub).")
    var subject: String

    @Option(help: "The account of the token (claim client_account_id).")
    var account = "0"

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("Flows that the token may read and watch; repeatable.", valueName: "pattern"))
    var subscribe: [String] = []

    @Option(parsing: .singleValue, help: ArgumentHelp("Flows that the token may change; repeatable.", valueName: "pattern"))
    var publish: [String] = []

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Further right of the token: locks, patterns, imports or admin; repeatable.", valueName: "scope"))
    var scope: [String] = []

    @Option(help: ArgumentHelp("Lifetime: 30s, 15m, 1h, 7d.", valueName: "time"))
    var ttl = "1h"

    func run() async throws {
        guard let key = HubOptions.environment("FLOWHUB_JWT_KEY") else {
            throw CommandFailure(
                .usage, "FLOWHUB_JWT_KEY is not set. Set it to the hub's key; openssl rand -hex 32 creates one.")
        }
        let subscribe = try self.subscribe.map { try Self.pattern($0) }
        let publish = try self.publish.map { try Self.pattern($0) }
        var scopes: Set<Scope> = []
        for name in self.scope {
            guard let scope = Scope(rawValue: name) else {
                let known = Scope.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandFailure(.usage, "Invalid scope \"\(Terminal.sanitized(name))\". Use one of: \(known).")
            }
            scopes.insert(scope)
        }
        let seconds = try Self.seconds(self.ttl)
        let token: String
        do {
            token = try await TokenMinter(key: key).mint(
                subject: self.subject, account: self.account, subscribe: subscribe, publish: publish, scopes: scopes,
                ttlSeconds: seconds, audience: HubOptions.environment("FLOWHUB_JWT_AUDIENCE"),
                issuer: HubOptions.environment("FLOWHUB_JWT_ISSUER"), now: Int64(Date().timeIntervalSince1970))
        } catch {
            throw CommandFailure(.usage, "Cannot create the token. \(error)")
        }
        try Terminal.show(token)
    }

    /// Parses a flow pattern: a flow id, or a prefix followed by `*`.
    /// - Throws: ``CommandFailure`` of kind `usage` for any other text.
    private static func pattern(_ text: String) throws(CommandFailure) -> FlowPattern {
        guard let pattern = FlowPattern(text) else {
            throw CommandFailure(
                .usage, "Invalid flow pattern \"\(Terminal.sanitized(text))\". Use a flow id, or a prefix followed by *.")
        }
        return pattern
    }

    /// Parses a time such as `90` (seconds), `30s`, `15m`, `1h` or `7d`.
    /// - Returns: seconds, from 1 to 31,536,000 (365 days).
    /// - Throws: ``CommandFailure`` of kind `usage` for any other text.
    static func seconds(_ text: String) throws(CommandFailure) -> Int {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let unit = text.last.flatMap { units[$0] }
        let number = Int(unit == nil ? text[...] : text.dropLast())
        guard let number, (1...31_536_000).contains(number), number * (unit ?? 1) <= 31_536_000 else {
            throw CommandFailure(
                .usage,
                "--ttl must be a time such as 30s, 15m, 1h or 7d, at most 365d, not \"\(Terminal.sanitized(text))\".")
        }
        return number * (unit ?? 1)
    }
}
