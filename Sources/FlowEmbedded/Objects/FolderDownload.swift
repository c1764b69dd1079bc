import FlowCore
import Synchronization

/// The reading of an object from its file. The open file can be read to the end even if it is deleted in the meantime.
final class FolderDownload: ObjectDownload {
    let info: ObjectInfo
    private let file: OpenFile
    /// The offset at which the requested range ends.
    private let end: Int
    /// Maximum bytes of one read.
    private let readBytes: Int
    /// The offset of the next read.
    private let position: Mutex<Int>
    private let ioQueue: FileIOQueue

    init(file: OpenFile, info: ObjectInfo, range: Range<Int>, readBytes: Int, _ ioQueue: FileIOQueue) {
        self.file = file
        self.info = info
        self.end = range.upperBound
        self.readBytes = readBytes
        self.position = Mutex(range.lowerBound)
        self.ioQueue = ioQueue
    }

    /// Reads the next bytes of the requested range; `nil` at its end.
    /// - Throws: `corrupted` if the file has become shorter.
    func next() async throws(ObjectError) -> [UInt8]? {
        let start = self.position.withLock { $0 }
        guard start < self.end else { return nil }
        let range = start..<min(self.end, start + self.readBytes)
        let bytes = try await self.ioQueue.run { () throws(ObjectError) in try self.file.read(range) }
        guard bytes.count == range.count else { throw .corrupted("The object's file became shorter while it was read.") }
        self.position.withLock { $0 = range.upperBound }
        return bytes
    }
}
