import FlowCore
import FlowEmbedded
import FlowObjects
import FlowPostgres
import Logging

/// Checks the file of import keys, and whether it has every key with which stored imports are encrypted.
struct ImportKeyDiagnostics {
    private static let subject = "import keys"

    let configuration: HubConfiguration
    let logger: Logger

    func run() async -> [DoctorFinding] {
        var keys = ImportKeySet()
        var findings: [DoctorFinding] = []
        if let path = self.configuration.importKeysPath {
            let file = ImportKeyFile(path: path)
            do throws(ImportKeyFile.Invalid) {
                keys = try file.read()
                findings.append(Self.finding(keys))
            } catch {
                return [DoctorFinding(.failure, Self.subject, "\(error)")]
            }
            if file.isReadableByOthers == true {
                findings.append(
                    DoctorFinding(
                        .warning, Self.subject, "other users may read the file \(path)",
                        advice: "Restrict it to the hub's user: chmod 600 \(path)"))
            }
        }
        guard let used = await self.used() else {
            if self.configuration.importKeysPath != nil {
                findings.append(
                    DoctorFinding(
                        .warning, Self.subject, "the ledger cannot be read, so its keys were not compared",
                        advice: "Start the hub or run `flowhub migrate` once, then run this command again."))
            }
            return findings
        }
        let keyring = ImportKeyring(OpenSSLImportCipher(), keys: keys)
        findings += used.compactMap { encryption in
            let reason: ImportError
            switch keyring.state(of: encryption) {
            case .present: return nil
            case .missing: reason = .keyMissing(encryption.key)
            case .different: reason = .keyDiffers(encryption.key)
            }
            return DoctorFinding(
                .failure, Self.subject, "stored imports are encrypted with the key \(encryption.key), which cannot be used",
                advice: reason.unreadable ?? "")
        }
        return findings
    }

    private static func finding(_ keys: ImportKeySet) -> DoctorFinding {
        guard let encrypting = keys.encrypting else {
            return DoctorFinding(
                .ok, Self.subject, "\(keys.keys.count) keys; none encrypts, so new imports are not encrypted")
        }
        return DoctorFinding(.ok, Self.subject, "\(keys.keys.count) keys; new imports are encrypted with \(encrypting.name)")
    }

    /// The encryption of one stored import for each key of the ledger; `nil` if the ledger cannot be read.
    private func used() async -> [ImportEncryption]? {
        guard let settings = self.configuration.postgres else {
            return SQLiteImportLedger.encryptions(directory: self.configuration.dataDirectory)
        }
        return await PostgresDiagnostics(settings, logger: self.logger).importEncryptions()
    }
}
