import ArgumentParser
import FlowCore
import Foundation
import NIOCore

/// Where the hub is, and with which token.
struct HubAddress: ParsableArguments {
    @Option(help: ArgumentHelp("The hub's address. (environment: FLOWHUB_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(help: ArgumentHelp("The token to send. (environment: FLOWHUB_TOKEN, which other users cannot see)", valueName: "jwt"))
    var token: String?

    func hub() throws(CommandFailure) -> HubURL {
        try HubURL(self.url ?? HubOptions.environment("FLOWHUB_URL") ?? "http://127.0.0.1:8080")
    }

    /// The value of `Authorization`.
    func authorization() throws(CommandFailure) -> String? {
        guard let token = self.token ?? HubOptions.environment("FLOWHUB_TOKEN") else { return nil }
        guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(.usage, "The token has blanks or other characters that no token has. Was it cut or quoted?")
        }
        return "Bearer \(token)"
    }

    /// Runs with a client that is closed afterwards.
    func withClient<Result>(
        silence: TimeAmount = HubClient.silence, stall: TimeAmount? = nil, _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        let hub = try self.hub()
        let authorization = try self.authorization()
        if authorization != nil, !hub.isSecure, !hub.isLoopback {
            Terminal.say("warning: the token goes to \(Terminal.harmless(hub.host)) unencrypted; use https:// if you can.")
        }
        return try await HubClient.withClient(
            hub: hub, authorization: authorization, silence: silence, stall: stall, body)
    }

}

/// What most commands that talk to a hub take.
struct HubOptions: ParsableArguments {
    @OptionGroup var address: HubAddress

    @Flag(help: "Print JSON for programs.")
    var json = false

    func hub() throws(CommandFailure) -> HubURL { try self.address.hub() }

    func authorization() throws(CommandFailure) -> String? { try self.address.authorization() }

    /// Runs with a client that is closed afterwards. Ctrl-C ends the process meanwhile.
    func withClient<Result>(
        silence: TimeAmount = HubClient.silence, stall: TimeAmount? = nil, _ body: (HubClient) async throws -> Result
    ) async throws -> Result {
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        return try await self.address.withClient(silence: silence, stall: stall, body)
    }

    /// A variable that is set to something.
    static func environment(_ name: String) -> String? {
        let value = ProcessInfo.processInfo.environment[name] ?? ""
        return value.isEmpty ? nil : value
    }
}

extension FlowID {
    /// A flow as it stands on a command line.
    static func argument(_ text: String) throws(CommandFailure) -> FlowID {
        guard let flow = FlowID(text) else {
            throw CommandFailure(.usage, "\"\(Terminal.harmless(text))\" is no flow: take 1 to 128 of A-Za-z0-9_.:-")
        }
        return flow
    }
}
