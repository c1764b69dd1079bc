import FlowCore
import Foundation
import Synchronization

/// Where a download goes: standard output, or a file that has its name only when all of it is there.
final class DownloadTarget: Sendable {
    private enum Destination: Sendable {
        case standardOutput
        /// A device or a pipe, which cannot be replaced.
        case special(Int32)
        case file(Int32, temporary: String, path: String)
        case closed
    }

    private let place: Mutex<Destination>
    private let name: String
    private let written = Mutex(0)

    /// - Parameter path: `nil` and `-` are standard output.
    init(_ path: String?) throws(CommandFailure) {
        self.name = path.map { Terminal.harmless($0) } ?? "-"
        self.place = Mutex(.closed)
        let place: Destination = if let path, path != "-" { try self.open(path) } else { .standardOutput }
        self.place.withLock { $0 = place }
    }

    deinit { self.discard() }

    /// Whether all of it can be begun anew.
    var isRepeatable: Bool {
        let isFile = self.place.withLock { if case .file = $0 { true } else { false } }
        return isFile || self.written.withLock { $0 } == 0
    }

    /// Waits for as long as the reader of a pipe takes.
    func write(_ bytes: [UInt8]) throws {
        let descriptor: Int32
        switch self.place.withLock({ $0 }) {
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

    /// Throws away what was written, to begin anew. Only where ``isRepeatable``.
    func restart() throws(CommandFailure) {
        guard case .file(let descriptor, _, _) = self.place.withLock({ $0 }) else { return }
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw self.failure(errno) }
    }

    /// All of it is there: the file gets its name.
    func finish() throws(CommandFailure) {
        let place = self.place.withLock { place in
            defer { place = .closed }
            return place
        }
        switch place {
        case .standardOutput, .closed: return
        case .special(let descriptor): close(descriptor)
        case .file(let descriptor, let temporary, let path):
            // Errors of a full disk may come as late as here.
            let isThere = fsync(descriptor) == 0 && rename(temporary, path) == 0
            let problem = errno
            close(descriptor)
            guard isThere else {
                unlink(temporary)
                throw self.failure(problem)
            }
        }
    }

    /// Nothing of it is kept, if it was to be a file.
    func discard() {
        let place = self.place.withLock { place in
            defer { place = .closed }
            return place
        }
        switch place {
        case .standardOutput, .closed: return
        case .special(let descriptor): close(descriptor)
        case .file(let descriptor, let temporary, _):
            close(descriptor)
            unlink(temporary)
        }
    }

    private func open(_ path: String) throws(CommandFailure) -> Destination {
        var status = stat()
        var goal = path
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT != S_IFDIR else {
                throw CommandFailure(.usage, "\(self.name) is a folder. Name a file with -o.")
            }
            if status.st_mode & S_IFMT != S_IFREG {
                let descriptor = Foundation.open(path, O_WRONLY | O_CLOEXEC)
                guard descriptor >= 0 else { throw self.failure(errno) }
                return .special(descriptor)
            }
            // Where a link points to is replaced, not the link.
            if let resolved = realpath(path, nil) {
                goal = String(cString: resolved)
                free(resolved)
            }
        }
        let url = URL(fileURLWithPath: goal)
        let temporary = url.deletingLastPathComponent().path + "/.flowhub-\(RandomText.hex128()).part"
        let descriptor = Foundation.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw self.failure(errno) }
        return .file(descriptor, temporary: temporary, path: goal)
    }

    private func failure(_ problem: Int32) -> CommandFailure {
        let name = self.name == "-" ? "Standard output" : self.name
        return CommandFailure(.usage, "\(name) cannot be written: \(String(cString: strerror(problem))).")
    }
}
