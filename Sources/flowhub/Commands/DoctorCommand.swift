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
        abstract: "Look over everything that is configured, and say what is wrong and what to do.",
        discussion: """
            Reads the same environment as `flowhub serve`, connects to what it names and changes nothing.

            EXAMPLES
              flowhub doctor
              DATABASE_URL=postgres://hub@db/hub flowhub doctor --json

            EXIT CODES: 0 the hub can run, maybe with warnings; 1 something does not work; 2 wrong usage or setting.
            """)

    /// Below this the hub cannot hold the connections that its default limit allows.
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
        if let settings = configuration.redis { findings += await RedisDiagnostics(settings, now: SystemClock.now).run() }
        if let settings = configuration.r2 {
            let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .critical, format: .text) }
            findings += await ObjectStoreDiagnostics(settings: settings, logger: logger).run()
        } else {
            findings.append(ObjectStoreDiagnostics.without(configuration))
        }
        if self.json { try Self.printJSON(findings) } else { try Self.printText(findings) }
        if findings.contains(where: { $0.level == .failure }) { throw ExitCode(FailureKind.refused.rawValue) }
    }

    // MARK: This machine

    private static func process(_ configuration: HubConfiguration) -> [DoctorFinding] {
        var findings = [DoctorFinding(.ok, "settings", "every setting can be read")]
        let files = FileLimit.raise()
        findings.append(
            files >= Self.fewFiles
                ? DoctorFinding(.ok, "files", "\(files) files may be open")
                : DoctorFinding(
                    .warning, "files", "only \(files) files may be open, and each browser takes one",
                    advice: "Raise the limit: `ulimit -n 65536`, or LimitNOFILE= in the systemd unit."))
        if configuration.access.isOpen {
            findings.append(
                DoctorFinding(
                    .warning, "access", "no key is set: everybody on this machine may read and change everything",
                    advice: "Set FLOWHUB_JWT_KEY or FLOWHUB_JWKS; until then only a loopback address can be listened on."))
        } else {
            findings.append(DoctorFinding(.ok, "access", "a token is needed"))
        }
        return findings
    }

    private static func folder(_ path: String) -> DoctorFinding {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else {
            let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
            return manager.isWritableFile(atPath: parent)
                ? DoctorFinding(.ok, "store", "\(path) is not there yet and can be made")
                : DoctorFinding(.failure, "store", "\(path) cannot be made", advice: "Name a folder of the hub's own in FLOWHUB_DATA.")
        }
        guard manager.isWritableFile(atPath: path) else {
            return DoctorFinding(.failure, "store", "\(path) cannot be written to", advice: "Give it to the user that runs the hub.")
        }
        return DoctorFinding(.ok, "store", "the embedded store is in \(path); one process serves it")
    }

    // MARK: Output

    private static func printText(_ findings: [DoctorFinding]) throws {
        let palette = Palette(isOn: Terminal.isColourful)
        let width = findings.map(\.subject.count).max() ?? 0
        for finding in findings {
            let mark =
                switch finding.level {
                case .ok: palette.green("ok     ")
                case .warning: palette.yellow("warning")
                case .failure: palette.red("FAILURE")
                }
            let subject = finding.subject + String(repeating: " ", count: width - finding.subject.count)
            try Terminal.show("\(mark)  \(subject)  \(finding.text)")
            if !finding.advice.isEmpty {
                try Terminal.show(String(repeating: " ", count: 9 + width + 2) + finding.advice)
            }
        }
    }

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
