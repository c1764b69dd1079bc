import FlowCore
import FlowHTTP
import FlowObjects
import Foundation
import Logging

/// Reloads what the hub has read from files: the token keys of `FLOWHUB_JWKS` and the R2 credentials of
/// `FLOWHUB_R2_CREDENTIALS`. Looks every second whether a file has changed, and reads all of them on SIGHUP.
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
        let file = KeySetReloader(path: path, version: version, verifier: verifier, logger: logger)
        return FileReloader.File(setting: "FLOWHUB_JWKS") { await file.reload(isForced: $0) }
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

/// Reloads the key set file of a ``TokenVerifier``.
private actor KeySetReloader {
    private let path: String
    private let verifier: TokenVerifier
    private let logger: Logger
    /// The version that was read last, valid or not. Read before the content, so that a change in between is noticed.
    private var version: FileVersion?
    /// Why the content that was read last is not in use; `nil` if it is.
    private var problem: String?

    init(path: String, version: FileVersion?, verifier: TokenVerifier, logger: Logger) {
        self.path = path
        self.version = version
        self.verifier = verifier
        self.logger = logger
    }

    func reload(isForced: Bool) async -> Bool {
        let version = FileVersion(self.path)
        guard isForced || version != self.version else { return self.problem == nil }
        self.version = version
        do throws(AccessConfigurationError) {
            let count = try await self.verifier.reload()
            self.problem = nil
            let metadata: Logger.Metadata = ["path": "\(self.path)", "keys": .stringConvertible(count)]
            if count > 0 {
                self.logger.notice("Reloaded token keys of FLOWHUB_JWKS", metadata: metadata)
            } else {
                self.logger.warning(
                    "FLOWHUB_JWKS has no usable key any more; the tokens of its former keys are rejected", metadata: metadata)
            }
        } catch {
            if isForced || error.description != self.problem {
                self.logger.error("Cannot reload FLOWHUB_JWKS; keeping previous token keys", metadata: ["error": "\(error)"])
            }
            self.problem = error.description
        }
        return self.problem == nil
    }
}
