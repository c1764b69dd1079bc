import FlowCore
import Synchronization

/// A download of a file. It can be read to its end even if the file is deleted in the meantime.
final class FolderDownload: ObjectDownload {
    let info: ObjectInfo
    private let file: OpenFile
    private let end: Int
    private let readBytes: Int
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

    func next() async throws(ObjectError) -> [UInt8]? {
        let start = self.position.withLock { $0 }
        guard start < self.end else { return nil }
        let range = start..<min(self.end, start + self.readBytes)
        let bytes = try await self.ioQueue.run { () throws(ObjectError) in try self.file.read(range) }
        guard bytes.count == range.count else { throw .corrupted("The file was truncated during the read.") }
        self.position.withLock { $0 = range.upperBound }
        return bytes
    }
}
