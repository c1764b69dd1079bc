import FlowCore
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// The bytes that are handed in: a file, or whatever standard input is. Never more than a chunk of it is in memory.
final class ImportSource: Sendable {
    /// Bytes that are read at once.
    static let chunkBytes = 262_144

    /// Bytes from where it begins; `nil` for a pipe or a terminal.
    let length: Int?
    private let descriptor: Int32
    /// Where reading begins: standard input may be a file of which something was read.
    private let start: Int
    private let name: String
    /// Whether bytes were taken out of something that gives them only once.
    private let isUsed = Mutex(false)

    /// - Parameter path: `-` is standard input.
    init(_ path: String) throws(CommandFailure) {
        let shown = Terminal.harmless(path)
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
            throw CommandFailure(.usage, "\(self.name) is a folder. Give one file.")
        }
        self.descriptor = descriptor
        let isFile = status.st_mode & S_IFMT == S_IFREG
        self.start = isFile ? max(Int(lseek(descriptor, 0, SEEK_CUR)), 0) : 0
        self.length = isFile ? max(Int(status.st_size) - self.start, 0) : nil
    }

    deinit { close(self.descriptor) }

    /// Whether ``chunks(read:)`` would still give all of it.
    var isWhole: Bool { self.length != nil || !self.isUsed.withLock { $0 } }

    /// All of it, from the start.
    /// - Parameter read: called with the number of bytes of each chunk when the next one is wanted, so when it has been sent
    ///   as far as anybody here can tell.
    func chunks(sent: @escaping @Sendable (Int) -> Void) -> Chunks { Chunks(source: self, sent: sent) }

    struct Chunks: AsyncSequence, Sendable {
        fileprivate let source: ImportSource
        fileprivate let sent: @Sendable (Int) -> Void

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

            mutating func next() async throws -> ByteBuffer? {
                if self.pending > 0 { self.sent(self.pending) }
                let (source, offset) = (self.source, self.offset)
                // A pipe may give nothing for long, so not on a thread that others need.
                let buffer = try await NIOThreadPool.singleton.runIfActive { try source.chunk(at: offset) }
                self.pending = buffer?.readableBytes ?? 0
                self.offset += self.pending
                return buffer
            }
        }
    }

    /// - Returns: `nil` at the end.
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
                "\(self.name) became shorter while it was sent: \(offset) of \(length) bytes. Send it when nobody writes to it.")
        }
        return count > 0 ? buffer : nil
    }
}
