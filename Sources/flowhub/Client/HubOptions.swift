import ArgumentParser
import FlowCore
import Foundation
import NIOCore

/// Options for the hub's URL and the token.
struct HubAddress: ParsableArguments {
    @Option(help: ArgumentHelp("The hub's URL. (environment: FLOWHUB_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(
        help: ArgumentHelp(
            "The token to send. (environment: FLOWHUB_TOKEN, which is not visible to other users)", valueName: "jwt"))
    var token: String?

    /// The hub's URL: `--url`, else `FLOWHUB_URL`, else port 8080 of this machine.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is invalid.
    func hub() throws(CommandFailure) -> HubURL {
        try HubURL(self.url ?? HubOptions.environment("FLOWHUB_URL") ?? "http://127.0.0.1:8080")
    }

    /// The value of the `Authorization` header; `nil` without a token.
    /// - Throws: ``CommandFailure`` of kind `usage` if the token has other characters than visible ASCII.
    func authorization() throws(CommandFailure) -> String? {
        guard let token = self.token ?? HubOptions.environment("FLOWHUB_TOKEN") else { return nil }
        guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(
                .usage,
                "The token in --token or FLOWHUB_TOKEN contains blanks or non-ASCII characters. Pass it complete and unquoted.")
        }
        return "Bearer \(token)"
    }

    /// Runs the body with a client for the hub, and shuts the client down afterwards. Warns if a token is sent unencrypted.
    func withClient<Result>(
        silence: TimeAmount = HubClient.silence, stall: TimeAmount? = nil, _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        let hub = try self.hub()
        let authorization = try self.authorization()
        if authorization != nil, !hub.isSecure, !hub.isLoopback {
            Terminal.note("warning: the token is sent to \(Terminal.sanitized(hub.host)) unencrypted; use https:// if possible.")
        }
        return try await HubClient.withClient(
            hub: hub, authorization: authorization, silence: silence, stall: stall, body)
    }

}

/// Options of most commands that send requests to a hub.
struct HubOptions: ParsableArguments {
    @OptionGroup var address: HubAddress

    @Flag(help: "Print JSON for programs.")
    var json = false

    /// The hub's URL; see ``HubAddress/hub()``.
    func hub() throws(CommandFailure) -> HubURL { try self.address.hub() }

    /// The value of the `Authorization` header; see ``HubAddress/authorization()``.
    func authorization() throws(CommandFailure) -> String? { try self.address.authorization() }

    /// Runs the body with a client for the hub, and shuts the client down afterwards. While the body runs, SIGINT (Ctrl-C) ends
    /// the process with exit code 130.
    func withClient<Result>(
        silence: TimeAmount = HubClient.silence, stall: TimeAmount? = nil, _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        return try await self.address.withClient(silence: silence, stall: stall, body)
    }

    /// The value of an environment variable; `nil` if it is not set or empty.
    static func environment(_ name: String) -> String? {
        let value = ProcessInfo.processInfo.environment[name] ?? ""
        return value.isEmpty ? nil : value
    }
}

extension FlowID {
    /// Parses a flow id from the command line.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is invalid.
    static func argument(_ text: String) throws(CommandFailure) -> FlowID {
        guard let flow = FlowID(text) else {
            throw CommandFailure(
                .usage, "Invalid flow id \"\(Terminal.sanitized(text))\". Use 1 to 128 characters of A-Za-z0-9_.:-")
        }
        return flow
    }
}
