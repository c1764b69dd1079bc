import FlowCore
import FlowHTTP
import FlowObjects
import Foundation
import Logging

/// Reloads what the hub has read from files: the token keys of `FLOWHUB_JWKS`, the import keys of `FLOWHUB_IMPORT_KEYS` and the R2
/// credentials of `FLOWHUB_R2_CREDENTIALS`. Looks every second whether a file has changed, and reads all of them on SIGHUP.
///
/// Invalid content changes nothing: the previous content stays in use, the reason is logged once, and ``HubHealth`` reports
/// the setting until the file is valid.
final class FileReloader: Sendable {
    /// A file, by the name of its setting.
    struct File: Sendable {
        var setting: String
        /// Reads the file if it has changed, or in any case if `isForced`.
        /// - Returns: whether the content in use is that of the file.
        var reload: @Sendable (_ isForced: Bool) async -> Bool
    }

    private let files: [File]
    private let health: HubHealth
    private let requests: AsyncStream<Bool>
    private let continuation: AsyncStream<Bool>.Continuation

    init(_ files: [File], health: HubHealth) {
        self.files = files
        self.health = health
        (self.requests, self.continuation) = AsyncStream.makeStream(of: Bool.self)
    }

    /// Requests that all files are read now.
    func reloadNow() { self.continuation.yield(true) }

    /// Runs until the task is cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                while (try? await Task.sleep(for: .seconds(1))) != nil { self.continuation.yield(false) }
            }
            for await isForced in self.requests {
                for file in self.files { self.health.reloaded(file.setting, isCurrent: await file.reload(isForced)) }
            }
        }
    }
}

extension FileReloader.File {
    /// The key set file of a verifier.
    /// - Parameter version: the file's version before the verifier read it, so that a change since then is noticed.
    static func tokenKeys(
        _ path: String, _ version: FileVersion?, _ verifier: TokenVerifier, logger: Logger
    ) -> FileReloader.File {
        let file = KeyFileReloader(path: path, version: version) {
            do throws(AccessConfigurationError) {
                let count = try await verifier.reload()
                let metadata: Logger.Metadata = ["path": "\(path)", "keys": .stringConvertible(count)]
                if count > 0 {
                    logger.notice("Reloaded token keys of FLOWHUB_JWKS", metadata: metadata)
                } else {
                    logger.warning(
                        "FLOWHUB_JWKS has no usable key any more; the tokens of its former keys are rejected", metadata: metadata)
                }
                return nil
            } catch {
                return error.description
            }
        } report: {
            logger.error("Cannot reload FLOWHUB_JWKS; keeping previous token keys", metadata: ["error": "\($0)"])
        }
        return FileReloader.File(setting: "FLOWHUB_JWKS") { await file.reload(isForced: $0) }
    }

    /// The file of import keys.
    /// - Parameter version: the file's version before its keys were read.
    static func importKeys(
        _ path: String, _ version: FileVersion?, _ keyring: ImportKeyring, logger: Logger
    ) -> FileReloader.File {
        let file = KeyFileReloader(path: path, version: version) {
            do throws(ImportKeyFile.Invalid) {
                let keys = try ImportKeyFile(path: path).read()
                keyring.replace(keys)
                logger.notice(
                    "Reloaded import keys of FLOWHUB_IMPORT_KEYS",
                    metadata: [
                        "path": "\(path)", "keys": .stringConvertible(keys.keys.count),
                        "encrypting_key": "\(keys.encrypting?.name ?? "none")",
                    ])
                return nil
            } catch {
                return error.description
            }
        } report: {
            logger.error("Cannot reload FLOWHUB_IMPORT_KEYS; keeping previous import keys", metadata: ["error": "\($0)"])
        }
        return FileReloader.File(setting: ImportKeyFile.setting) { await file.reload(isForced: $0) }
    }

    /// The credentials file of R2, which logs its own changes.
    static func credentials(_ store: R2ObjectStore) -> FileReloader.File {
        FileReloader.File(setting: "FLOWHUB_R2_CREDENTIALS") { _ in store.reloadCredentials() }
    }
}

/// Distinguishes one content of a file from earlier and later ones.
struct FileVersion: Hashable {
    private let attributes: [String]

    /// The version of the file at the path; `nil` if there is none.
    init?(_ path: String) {
        // The path may be a symbolic link whose target is replaced, as Kubernetes does with mounted secrets.
        let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        guard let all = try? FileManager.default.attributesOfItem(atPath: target) else { return nil }
        let modified = (all[.modificationDate] as? Date)?.timeIntervalSinceReferenceDate ?? 0
        let keys: [FileAttributeKey] = [.systemNumber, .systemFileNumber, .size]
        self.attributes = keys.map { "\(all[$0] ?? "")" } + ["\(modified)"]
    }
}

/// Reloads a file of keys.
private actor KeyFileReloader {
    private let path: String
    /// Reads the file and uses its keys; returns why it did not.
    private let load: @Sendable () async -> String?
    /// Logs why the keys of the file are not used.
    private let report: @Sendable (String) -> Void
    /// The version that was read last, valid or not. Read before the content, so that a change in between is noticed.
    private var version: FileVersion?
    /// Why the content that was read last is not in use; `nil` if it is.
    private var problem: String?

    init(
        path: String, version: FileVersion?, load: @escaping @Sendable () async -> String?,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.path = path
        self.version = version
        self.load = load
        self.report = report
    }

    func reload(isForced: Bool) async -> Bool {
        let version = FileVersion(self.path)
        guard isForced || version != self.version else { return self.problem == nil }
        self.version = version
        let problem = await self.load()
        if let problem, isForced || problem != self.problem { self.report(problem) }
        self.problem = problem
        return problem == nil
    }
}
