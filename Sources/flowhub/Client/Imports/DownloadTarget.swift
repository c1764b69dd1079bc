import FlowCore
import Foundation
import Synchronization

/// The output of a download: standard output, or a file that is renamed to its final name when it is complete.
final class DownloadTarget: Sendable {
    /// Where the bytes are written. The `Int32` is an open file descriptor.
    private enum Destination: Sendable {
        case standardOutput
        /// A device or a named pipe, which is written directly because it cannot be replaced.
        case special(Int32)
        /// A temporary file, which ``finish()`` renames to `path`.
        case file(Int32, temporary: String, path: String)
        /// ``finish()`` or ``discard()`` was called: nothing can be written any more.
        case closed
    }

    private let destination: Mutex<Destination>
    private let name: String
    private let written = Mutex(0)

    /// - Parameter path: `nil` and `-` are standard output.
    /// - Throws: ``CommandFailure`` of kind `usage` if the path cannot be written.
    init(_ path: String?) throws(CommandFailure) {
        self.name = path.map { Terminal.sanitized($0) } ?? "-"
        self.destination = Mutex(.closed)
        let destination: Destination = if let path, path != "-" { try self.open(path) } else { .standardOutput }
        self.destination.withLock { $0 = destination }
    }

    deinit { self.discard() }

    /// Whether the download can start over: the output is a file, or nothing was written yet.
    var isRestartable: Bool {
        let isFile = self.destination.withLock { if case .file = $0 { true } else { false } }
        return isFile || self.written.withLock { $0 } == 0
    }

    /// Writes all bytes. Blocks while the reader of a pipe is slow.
    /// - Throws: ``OutputClosed`` if the reader of standard output is gone; ``CommandFailure`` for other errors.
    func write(_ bytes: [UInt8]) throws {
        let descriptor: Int32
        switch self.destination.withLock({ $0 }) {
        case .standardOutput: descriptor = STDOUT_FILENO
        case .special(let open), .file(let open, _, _): descriptor = open
        case .closed: throw self.failure(EBADF)
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EPIPE, descriptor == STDOUT_FILENO { throw OutputClosed() }
            guard count > 0 else { throw self.failure(count < 0 ? errno : EIO) }
            self.written.withLock { $0 += count }
            rest = rest.dropFirst(count)
        }
    }

    /// Discards the written bytes, so that the download can start over. Only called if ``isRestartable``.
    func restart() throws(CommandFailure) {
        guard case .file(let descriptor, _, _) = self.destination.withLock({ $0 }) else { return }
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw self.failure(errno) }
    }

    /// Completes the output. A temporary file is synced to disk and renamed to its final name.
    func finish() throws(CommandFailure) {
        let destination = self.destination.withLock { destination in
            defer { destination = .closed }
            return destination
        }
        switch destination {
        case .standardOutput, .closed: return
        case .special(let descriptor): close(descriptor)
        case .file(let descriptor, let temporary, let path):
            // Some file systems report a full disk only here.
            let isRenamed = fsync(descriptor) == 0 && rename(temporary, path) == 0
            let problem = errno
            close(descriptor)
            guard isRenamed else {
                unlink(temporary)
                throw self.failure(problem)
            }
        }
    }

    /// Closes the output without completing it, and deletes the temporary file. Does nothing after ``finish()``.
    func discard() {
        let destination = self.destination.withLock { destination in
            defer { destination = .closed }
            return destination
        }
        switch destination {
        case .standardOutput, .closed: return
        case .special(let descriptor): close(descriptor)
        case .file(let descriptor, let temporary, _):
            close(descriptor)
            unlink(temporary)
        }
    }

    /// Opens a device or pipe, or creates a temporary file next to the file that is to be replaced.
    /// - Throws: ``CommandFailure`` of kind `usage` if that fails or the path is a directory.
    private func open(_ path: String) throws(CommandFailure) -> Destination {
        var status = stat()
        var resolvedPath = path
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT != S_IFDIR else {
                throw CommandFailure(.usage, "\(self.name) is a directory. Name a file with -o.")
            }
            if status.st_mode & S_IFMT != S_IFREG {
                let descriptor = Foundation.open(path, O_WRONLY | O_CLOEXEC)
                guard descriptor >= 0 else { throw self.failure(errno) }
                return .special(descriptor)
            }
            // Replaces the file that a symbolic link points to, not the link.
            if let resolved = realpath(path, nil) {
                resolvedPath = String(cString: resolved)
                free(resolved)
            }
        }
        let url = URL(fileURLWithPath: resolvedPath)
        let temporary = url.deletingLastPathComponent().path + "/.flowhub-\(RandomText.hex128()).part"
        let descriptor = Foundation.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw self.failure(errno) }
        return .file(descriptor, temporary: temporary, path: resolvedPath)
    }

    /// The failure for a system error. `problem`: its `errno`.
    private func failure(_ problem: Int32) -> CommandFailure {
        let name = self.name == "-" ? "Standard output" : self.name
        return CommandFailure(.usage, "\(name) cannot be written: \(String(cString: strerror(problem))).")
    }
}
