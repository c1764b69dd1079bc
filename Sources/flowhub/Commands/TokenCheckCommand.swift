import ArgumentParser
import FlowCore
import FlowHTTP
import Foundation

/// `flowhub token check`
struct TokenCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Show what the hub makes of a token: what it grants, or why it is rejected.",
        discussion: """
            Reads the same environment as `flowhub serve`: FLOWHUB_JWT_KEY, FLOWHUB_JWKS and the other settings of tokens. It sends \
            nothing. Clients of the hub get the same answer to every invalid token; this command names the check that failed and what \
            to do about it. Revocations are not checked: a running hub answers a revoked token with token_revoked.

            EXAMPLES
              flowhub token check - < token.txt
              pbpaste | flowhub token check -
              flowhub token --subject me --ttl 5m | flowhub token check - --json

            EXIT CODES: 0 the hub accepts the token; 1 it rejects it; 2 invalid usage or setting, or no key is set.
            """)

    @Argument(
        help: ArgumentHelp(
            "The token, with or without \"Bearer\"; - reads it from standard input, so that it is in no shell history.",
            valueName: "jwt"))
    var token: String?

    @Flag(help: "Print JSON for programs.")
    var json = false

    func run() async throws {
        guard let input = try CommandInput.bytes(self.token) else {
            throw CommandFailure(.usage, "Missing token. Pipe it into: flowhub token check -")
        }
        let token = Self.token(in: String(decoding: input, as: UTF8.self))
        guard !token.isEmpty else { throw CommandFailure(.usage, "The token is empty. Pipe it into: flowhub token check -") }
        let access = try HubConfiguration.fromEnvironment().access
        guard !access.isOpen else {
            throw CommandFailure(
                .usage, "No key is set, so the hub needs no token. Set FLOWHUB_JWT_KEY or FLOWHUB_JWKS to the hub's keys.")
        }
        let verifier: TokenVerifier
        do { verifier = try await TokenVerifier(access) } catch { throw CommandFailure(.usage, error.description) }
        let now = Int64(Date().timeIntervalSince1970)
        let finding = TokenFinding(verifier.report(on: token, now: now), leeway: verifier.leewaySeconds, now: now)
        try Terminal.show(self.json ? finding.json.string : finding.text(Palette(isOn: Terminal.isColorful)))
        if !finding.isAccepted { throw ExitCode(FailureKind.rejected.rawValue) }
    }

    /// The token without the white space around it, and without `Bearer`.
    static func token(in input: String) -> String {
        let text = input.trimmingCharacters(in: .whitespacesAndNewlines)
        guard text.lowercased().hasPrefix("bearer ") else { return text }
        return text.dropFirst("bearer ".count).trimmingCharacters(in: .whitespaces)
    }
}

/// The result of `flowhub token check`.
struct TokenFinding {
    private let report: TokenReport
    private let leeway: Int64
    private let now: Int64

    /// - Parameters:
    ///   - leeway: seconds after its end for which the hub accepts a token.
    ///   - now: Unix time in seconds.
    init(_ report: TokenReport, leeway: Int64, now: Int64) {
        self.report = report
        self.leeway = leeway
        self.now = now
    }

    /// Whether the hub accepts the token.
    var isAccepted: Bool { if case .success = self.report.result { true } else { false } }

    /// Rows of a name and a text.
    func text(_ palette: Palette) -> String {
        var lines: [String] = []
        func row(_ name: String, _ value: String?) {
            if let value { lines.append("  " + palette.bold(name.padded(to: 9)) + "  " + Terminal.sanitized(value)) }
        }
        switch self.report.result {
        case .success(let principal):
            lines.append(palette.green("The hub accepts the token."))
            row("subject", principal.subject)
            row("account", principal.account)
            row("subscribe", Self.list(principal.subscribe.map(\.description)))
            row("publish", Self.list(principal.publish.map(\.description)))
            row("scopes", Self.list(principal.scopes.map(\.rawValue).sorted()))
            row("issued", principal.issuedAt > 0 ? self.time(principal.issuedAt) : "unknown: it has no iat")
            row("ends", principal.expiresAt.map { "\(self.time($0)), with \(self.leeway) s for clocks that differ" } ?? "never")
        case .failure(let error):
            lines.append(palette.red("The hub rejects the token: \(error.code)"))
            row("claim", error.claim)
            row("seen", error.seen)
            row("reason", error.reason)
            row("remedy", error.remedy)
        }
        row("header", self.report.header?.string)
        row("claims", self.report.claims?.string)
        return lines.joined(separator: "\n")
    }

    /// One JSON object.
    var json: JSONText {
        .object { writer in
            writer.key("accepted")
            writer.value(self.isAccepted)
            switch self.report.result {
            case .success(let principal):
                writer.key("subject")
                writer.value(principal.subject)
                writer.key("account")
                writer.value(principal.account)
                for (name, list) in [
                    ("subscribe", principal.subscribe.map(\.description)), ("publish", principal.publish.map(\.description)),
                    ("scopes", principal.scopes.map(\.rawValue).sorted()),
                ] {
                    writer.key(name)
                    writer.raw(.array { for text in list { $0.value(text) } })
                }
                writer.key("expires_at")
                if let end = principal.expiresAt { writer.value(Self.date(end)) } else { writer.null() }
            case .failure(let error):
                for (name, text) in [
                    ("code", error.code), ("claim", error.claim), ("seen", error.seen), ("reason", error.reason),
                    ("remedy", error.remedy),
                ] {
                    guard let text else { continue }
                    writer.key(name)
                    writer.value(text)
                }
            }
            for (name, document) in [("header", self.report.header), ("claims", self.report.claims)] {
                writer.key(name)
                if let document { writer.raw(document) } else { writer.null() }
            }
        }
    }

    private static func list(_ texts: [String]) -> String { texts.isEmpty ? "none" : texts.joined(separator: ", ") }

    /// A date; the number itself after the year 9999, which no date has.
    private static func date(_ seconds: Int64) -> String {
        seconds < 253_402_300_800 ? Timestamp(milliseconds: seconds * 1_000).description : "\(seconds)"
    }

    /// A time, and how far it is from now.
    private func time(_ seconds: Int64) -> String {
        let distance = seconds - self.now
        let text = HumanReadable.duration(seconds: Double(abs(distance)))
        return "\(Self.date(seconds)), " + (distance <= 0 ? "\(text) ago" : "in \(text)")
    }
}
