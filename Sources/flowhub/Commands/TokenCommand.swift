import ArgumentParser
import FlowCore
import FlowHTTP
import Foundation

/// `flowhub token`
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Mint a token for development.",
        discussion: """
            Signs with HS256 and the key in FLOWHUB_JWT_KEY (at least 32 bytes), as the hub checks it. In production your own \
            login issues the tokens. A pattern is a flow or the beginning of one with * behind it; without any --subscribe and \
            --publish the token may do nothing with flows.

            EXAMPLES
              flowhub token --subject me --subscribe '*' --publish '*'
              export FLOWHUB_TOKEN=$(flowhub token --subject ci --publish 'import-*' --ttl 15m)
              flowhub token --subject ops --account 7 --scope admin --scope locks --ttl 8h

            EXIT CODES: 0 minted; 2 wrong usage or no usable key.
            """)

    @Option(help: "Who it is for (sub).")
    var subject: String

    @Option(help: "The account (client_account_id).")
    var account = "0"

    @Option(parsing: .singleValue, help: ArgumentHelp("Flows to watch; repeat it for several.", valueName: "pattern"))
    var subscribe: [String] = []

    @Option(parsing: .singleValue, help: ArgumentHelp("Flows to change; repeat it for several.", valueName: "pattern"))
    var publish: [String] = []

    @Option(parsing: .singleValue, help: ArgumentHelp("locks, patterns, imports or admin; repeat it.", valueName: "scope"))
    var scope: [String] = []

    @Option(help: ArgumentHelp("How long it lasts: 30s, 15m, 1h, 7d.", valueName: "time"))
    var ttl = "1h"

    func run() async throws {
        guard let key = HubOptions.environment("FLOWHUB_JWT_KEY") else {
            throw CommandFailure(
                .usage, "FLOWHUB_JWT_KEY is not set. Give it the key that the hub has, such as: openssl rand -hex 32")
        }
        let subscribe = try self.subscribe.map { try Self.pattern($0) }
        let publish = try self.publish.map { try Self.pattern($0) }
        var scopes: Set<Scope> = []
        for name in self.scope {
            guard let scope = Scope(rawValue: name) else {
                let known = Scope.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandFailure(.usage, "\"\(Terminal.harmless(name))\" is no scope. There are \(known).")
            }
            scopes.insert(scope)
        }
        let seconds = try Self.seconds(self.ttl)
        let token: String
        do {
            token = try await TokenMinter(key: key).mint(
                subject: self.subject, account: self.account, subscribe: subscribe, publish: publish, scopes: scopes,
                ttlSeconds: seconds, audience: HubOptions.environment("FLOWHUB_JWT_AUDIENCE"),
                now: Int64(Date().timeIntervalSince1970))
        } catch {
            throw CommandFailure(.usage, "\(error)")
        }
        try Terminal.show(token)
    }

    private static func pattern(_ text: String) throws(CommandFailure) -> FlowPattern {
        guard let pattern = FlowPattern(text) else {
            throw CommandFailure(.usage, "\"\(Terminal.harmless(text))\" is no pattern: take a flow, or its beginning and a *.")
        }
        return pattern
    }

    /// `90`, `30s`, `15m`, `1h` or `7d`, up to a year.
    static func seconds(_ text: String) throws(CommandFailure) -> Int {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        let unit = text.last.flatMap { units[$0] }
        let number = Int(unit == nil ? text[...] : text.dropLast())
        guard let number, (1...31_536_000).contains(number), number * (unit ?? 1) <= 31_536_000 else {
            throw CommandFailure(.usage, "--ttl takes a time such as 30s, 15m, 1h or 7d, up to 365d.")
        }
        return number * (unit ?? 1)
    }
}
