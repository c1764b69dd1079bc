import ArgumentParser
import FlowCore
import FlowHTTP
import FlowPostgres
import FlowRedis
import Foundation
import Logging

/// `flowhub doctor`
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check the settings, and connect to the configured store, Redis and R2.",
        discussion: """
            Reads the same environment as `flowhub serve`, connects to the configured backends, and prints one finding per \
            check, with advice if something is wrong. It changes nothing.

            EXAMPLES
              flowhub doctor
              DATABASE_URL=postgres://hub@db/hub flowhub doctor --json

            EXIT CODES: 0 no failures, possibly warnings; 1 at least one check failed; 2 invalid usage or setting.
            """)

    /// The limit of open files below which the diagnostics warn: 10,000 streams (the minimum default of
    /// `FLOWHUB_MAX_CONNECTIONS`) and 2,048 other files.
    private static let fewFiles: UInt64 = 12_048

    @Flag(help: "Print JSON for programs.")
    var json = false

    func run() async throws {
        let configuration = try HubConfiguration.fromEnvironment()
        var findings = Self.process(configuration)
        if let settings = configuration.postgres {
            let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .critical, format: .text) }
            findings += await PostgresDiagnostics(settings, logger: logger).run()
        } else {
            findings.append(Self.folder(configuration.dataDirectory))
        }
        if let settings = configuration.redis {
            findings += await RedisDiagnostics(settings, foreign: configuration.redisServices.foreign, now: SystemClock.now).run()
        }
        if let settings = configuration.r2 {
            let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .critical, format: .text) }
            findings += await ObjectStoreDiagnostics(settings: settings, share: configuration.imports.objectShare, logger: logger)
                .run()
        } else {
            findings.append(ObjectStoreDiagnostics.without(configuration))
        }
        let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .critical, format: .text) }
        findings += await ImportKeyDiagnostics(configuration: configuration, logger: logger).run()
        if self.json { try Self.printJSON(findings) } else { try Self.printText(findings) }
        if findings.contains(where: { $0.level == .failure }) { throw ExitCode(FailureKind.rejected.rawValue) }
    }

    // MARK: This machine

    /// Checks the limit of open files, and whether tokens are required.
    private static func process(_ configuration: HubConfiguration) -> [DoctorFinding] {
        var findings = [DoctorFinding(.ok, "settings", "all settings are valid")]
        let files = FileLimit.raise()
        findings.append(
            files >= Self.fewFiles
                ? DoctorFinding(.ok, "files", "the limit of open files is \(files)")
                : DoctorFinding(
                    .warning, "files", "the limit of open files is \(files); each event stream needs one file",
                    advice: "Raise the limit: `ulimit -n 65536`, or LimitNOFILE= in the systemd unit."))
        if configuration.access.isOpen {
            findings.append(
                DoctorFinding(
                    .warning, "access", "no JWT key is set: any process on this machine has full access",
                    advice: "Set FLOWHUB_JWT_KEY or FLOWHUB_JWKS. Without a key the hub listens on loopback addresses only."))
        } else {
            findings.append(
                configuration.access.audience != nil
                    ? DoctorFinding(.ok, "access", "requests need a token for the audience of FLOWHUB_JWT_AUDIENCE")
                    : DoctorFinding(
                        .warning, "access",
                        "requests need a token, and tokens for other services with the same keys are accepted",
                        advice: "Set FLOWHUB_JWT_AUDIENCE, unless the keys sign tokens for the hub only."))
        }
        return findings
    }

    /// Checks whether the directory of the embedded store is writable, or can be created.
    private static func folder(_ path: String) -> DoctorFinding {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else {
            let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
            return manager.isWritableFile(atPath: parent)
                ? DoctorFinding(.ok, "store", "the embedded store's directory \(path) does not exist yet; `serve` can create it")
                : DoctorFinding(
                    .failure, "store", "the embedded store's directory \(path) cannot be created",
                    advice: "Set FLOWHUB_DATA to a directory that the hub's user may create or write.")
        }
        guard manager.isWritableFile(atPath: path) else {
            return DoctorFinding(
                .failure, "store", "the embedded store's directory \(path) is not writable",
                advice: "Make the user that runs the hub the owner of the directory.")
        }
        return DoctorFinding(.ok, "store", "the embedded store is in \(path); only one instance can use it")
    }

    // MARK: Output

    /// Prints one row per finding: level, subject and text. Advice follows on a row of its own.
    private static func printText(_ findings: [DoctorFinding]) throws {
        let palette = Palette(isOn: Terminal.isColorful)
        let width = findings.map(\.subject.count).max() ?? 0
        for finding in findings {
            let symbol =
                switch finding.level {
                case .ok: palette.green("ok     ")
                case .warning: palette.yellow("warning")
                case .failure: palette.red("FAILURE")
                }
            let subject = finding.subject + String(repeating: " ", count: width - finding.subject.count)
            try Terminal.show("\(symbol)  \(subject)  \(finding.text)")
            if !finding.advice.isEmpty {
                try Terminal.show(String(repeating: " ", count: 9 + width + 2) + finding.advice)
            }
        }
    }

    /// Prints the findings as one JSON array.
    private static func printJSON(_ findings: [DoctorFinding]) throws {
        let list = JSONText.array { writer in
            for finding in findings {
                writer.raw(
                    .object { entry in
                        entry.key("level")
                        entry.value(finding.level.rawValue)
                        entry.key("subject")
                        entry.value(finding.subject)
                        entry.key("text")
                        entry.value(finding.text)
                        if !finding.advice.isEmpty {
                            entry.key("advice")
                            entry.value(finding.advice)
                        }
                    })
            }
        }
        try Terminal.show(list.string)
    }
}
