import FlowCore
import Foundation
import Logging
import Synchronization

/// Supplies the current credentials. Credentials from a file are reloaded when the file has changed: the file is
/// checked at most once a second, and immediately after R2 has rejected the credentials. Safe to use from any task; a
/// check is one `stat` call.
final class CredentialsProvider: Sendable {
    /// Distinguishes one content of the credentials file from earlier and later ones, by the file's `stat` data.
    private struct Version: Hashable, Sendable {
        let device: UInt
        /// Inode number.
        let number: UInt
        let size: Int
        /// Time of the last modification.
        let seconds: Int
        let nanoseconds: Int
    }

    private struct State: Sendable {
        var credentials: R2Credentials
        /// `stat` data of the file when it was last read successfully; `nil` if the credentials are fixed.
        var version: Version?
        /// When the credentials replaced earlier ones from the file; `nil` if they are the first.
        var changedAt: ContinuousClock.Instant?
        /// When the file was last checked for changes.
        var checkedAt: ContinuousClock.Instant
        /// Whether the most recent read of the file failed. Only the first of several failures in a row is logged.
        var isBroken = false
    }

    /// Maximum bytes of the credentials file.
    private static let maximumBytes = 65_536

    /// Path of the credentials file; `nil` if the credentials are fixed.
    private let path: String?
    private let logger: Logger
    private let state: Mutex<State>

    /// - Throws: ``R2SettingsError`` if the file cannot be read or is invalid.
    init(_ source: R2Settings.Source, logger: Logger) throws(R2SettingsError) {
        self.logger = logger
        switch source {
        case .fixed(let credentials):
            self.path = nil
            self.state = Mutex(State(credentials: credentials, checkedAt: .now))
        case .file(let path):
            // Before the content, so that a change in between is noticed.
            let version = Self.version(path)
            guard let credentials = Self.read(path) else {
                throw R2SettingsError(
                    "FLOWHUB_R2_CREDENTIALS",
                    "must be the path of a readable JSON file "
                        + "{\"access_key_id\": …, \"secret_access_key\": …}; \"session_token\" is optional.")
            }
            self.path = path
            self.state = Mutex(State(credentials: credentials, version: version, checkedAt: .now))
        }
    }

    /// The credentials to use now. Checks the file first if the previous check was 1 s ago or earlier.
    /// - Returns: the credentials, and when they replaced earlier ones from the file (`nil` if they are the first).
    func current(now: ContinuousClock.Instant = .now) -> (credentials: R2Credentials, changedAt: ContinuousClock.Instant?) {
        self.state.withLock { state in
            if now - state.checkedAt >= .seconds(1) { self.reloadIfChanged(&state, now) }
            return (state.credentials, state.changedAt)
        }
    }

    /// Checks the file immediately.
    /// - Returns: whether the credentials in use are those of the file; `true` without a file.
    func reload(now: ContinuousClock.Instant = .now) -> Bool {
        self.state.withLock { state in
            self.reloadIfChanged(&state, now)
            return !state.isBroken
        }
    }

    /// Checks the file immediately, because R2 has rejected the credentials.
    /// - Returns: whether the credentials now differ from the rejected ones, so that another attempt may succeed.
    func recheck(_ rejected: R2Credentials, now: ContinuousClock.Instant = .now) -> Bool {
        self.state.withLock { state in
            self.reloadIfChanged(&state, now)
            return state.credentials != rejected
        }
    }

    /// Reads the credentials file if its `stat` data has changed since it was last read successfully. Has no effect if the
    /// credentials are fixed.
    private func reloadIfChanged(_ state: inout State, _ now: ContinuousClock.Instant) {
        state.checkedAt = now
        guard let path = self.path else { return }
        let version = Self.version(path)
        if let version, version == state.version {
            state.isBroken = false
            return
        }
        // The file may be missing or incomplete while it is replaced: keep the previous credentials until the next
        // check.
        guard let credentials = Self.read(path) else {
            if !state.isBroken {
                self.logger.warning(
                    "Cannot read R2 credentials file FLOWHUB_R2_CREDENTIALS; keeping previous credentials",
                    metadata: ["path": "\(path)"])
            }
            state.isBroken = true
            return
        }
        state.isBroken = false
        state.version = version
        guard credentials != state.credentials else { return }
        state.credentials = credentials
        state.changedAt = now
        self.logger.info("Reloaded R2 credentials file FLOWHUB_R2_CREDENTIALS", metadata: ["path": "\(path)"])
    }

    /// The `stat` data of the file; `nil` if there is no such file.
    private static func version(_ path: String) -> Version? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Version(
            device: UInt(status.st_dev), number: UInt(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec,
            nanoseconds: status.st_mtim.tv_nsec)
    }

    /// Reads the credentials in a file; `nil` if the file cannot be read, or lacks a member, or a value is not printable.
    private static func read(_ path: String) -> R2Credentials? {
        guard let file = FileHandle(forReadingAtPath: path), let data = try? file.read(upToCount: Self.maximumBytes),
            let json = try? JSONText(validating: Array(data)), let id = json.member("access_key_id")?.stringValue,
            let secret = json.member("secret_access_key")?.stringValue
        else { return nil }
        let token = json.member("session_token")?.stringValue
        let credentials = R2Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: token.flatMap { $0.isEmpty ? nil : $0 })
        return credentials.isSendable ? credentials : nil
    }
}
