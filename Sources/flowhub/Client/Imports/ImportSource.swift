import FlowCore
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// The bytes to upload, from a file or standard input. At most one chunk is in memory.
final class ImportSource: Sendable {
    /// Maximum number of bytes per chunk.
    static let chunkBytes = 262_144

    /// Number of bytes from ``start`` on; `nil` for a pipe or a terminal.
    let length: Int?
    private let descriptor: Int32
    /// Offset of the first byte to read: standard input may be a file that was partly read already.
    private let start: Int
    private let name: String
    /// Whether bytes were read from a pipe or terminal, which cannot be read again.
    private let isUsed = Mutex(false)

    /// - Parameter path: `-` is standard input.
    /// - Throws: ``CommandFailure`` of kind `usage` if the source cannot be read or is a directory.
    init(_ path: String) throws(CommandFailure) {
        let shown = Terminal.sanitized(path)
        self.name = path == "-" ? "Standard input" : shown
        let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            let reason = String(cString: strerror(errno))
            if descriptor >= 0 { close(descriptor) }
            throw CommandFailure(.usage, "\(self.name) cannot be read: \(reason).")
        }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw CommandFailure(.usage, "\(self.name) is a directory. Pass one file.")
        }
        self.descriptor = descriptor
        let isFile = status.st_mode & S_IFMT == S_IFREG
        self.start = isFile ? max(Int(lseek(descriptor, 0, SEEK_CUR)), 0) : 0
        self.length = isFile ? max(Int(status.st_size) - self.start, 0) : nil
    }

    deinit { close(self.descriptor) }

    /// Whether all bytes can be read from ``start`` (again): true for a file, and for a pipe of which nothing was read.
    var isRewindable: Bool { self.length != nil || !self.isUsed.withLock { $0 } }

    /// All bytes of the source from ``start`` on, in chunks.
    /// - Parameter sent: called with the size of each chunk when the next chunk is requested. By then the chunk was handed to
    ///   the HTTP client, which is the closest observable event to "sent".
    func chunks(sent: @escaping @Sendable (Int) -> Void) -> Chunks { Chunks(source: self, sent: sent) }

    struct Chunks: AsyncSequence, Sendable {
        fileprivate let source: ImportSource
        fileprivate let sent: @Sendable (Int) -> Void

        /// Creates an iterator that reads the source from ``ImportSource/start``.
        func makeAsyncIterator() -> Iterator { Iterator(source: self.source, sent: self.sent) }

        struct Iterator: AsyncIteratorProtocol {
            fileprivate let source: ImportSource
            fileprivate let sent: @Sendable (Int) -> Void
            private var offset = 0
            private var pending = 0

            fileprivate init(source: ImportSource, sent: @escaping @Sendable (Int) -> Void) {
                self.source = source
                self.sent = sent
            }

            /// Reports the previous chunk as sent, and reads the next one.
            /// - Returns: `nil` at the end of the source.
            mutating func next() async throws -> ByteBuffer? {
                if self.pending > 0 { self.sent(self.pending) }
                let (source, offset) = (self.source, self.offset)
                // Reading a pipe may block for long, so it runs on a thread pool.
                let buffer = try await NIOThreadPool.singleton.runIfActive { try source.chunk(at: offset) }
                self.pending = buffer?.readableBytes ?? 0
                self.offset += self.pending
                return buffer
            }
        }
    }

    /// Reads a chunk. Blocks the thread. `offset`: distance of the chunk's first byte from ``start``; not used for a pipe.
    /// - Returns: `nil` at the end of the source.
    /// - Throws: ``CommandFailure`` of kind `usage` if reading fails, or if the file has become shorter than ``length``.
    private func chunk(at offset: Int) throws(CommandFailure) -> ByteBuffer? {
        let wanted = min(Self.chunkBytes, (self.length ?? .max) - offset)
        guard wanted > 0 else { return nil }
        var buffer = ByteBufferAllocator().buffer(capacity: wanted)
        var (count, problem): (Int, Int32) = (0, 0)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { space in
            repeat {
                if self.length == nil {
                    self.isUsed.withLock { $0 = true }
                    count = read(self.descriptor, space.baseAddress, wanted)
                } else {
                    count = pread(self.descriptor, space.baseAddress, wanted, off_t(self.start + offset))
                }
                problem = count < 0 ? errno : 0
            } while problem == EINTR
            return max(count, 0)
        }
        guard problem == 0 else {
            throw CommandFailure(.usage, "\(self.name) cannot be read: \(String(cString: strerror(problem))).")
        }
        if count == 0, let length = self.length {
            throw CommandFailure(
                .usage,
                "\(self.name) became shorter during the upload: \(offset) of \(length) bytes. "
                    + "Retry when no process writes to it.")
        }
        return count > 0 ? buffer : nil
    }
}
