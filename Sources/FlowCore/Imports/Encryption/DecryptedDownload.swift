import Synchronization

/// The download of an encrypted object as its gzip members, decrypted.
final class DecryptedDownload: ObjectDownload {
    private struct State: Sendable {
        /// Bytes of the object that were downloaded and not decrypted yet.
        var bytes: [UInt8] = []
        /// Number of the next member, from 0.
        var number = 0
    }

    private let download: any ObjectDownload
    private let index: GzipMemberIndex
    private let pieces: ImportPieces
    /// The size is that of the decrypted bytes.
    let info: ObjectInfo
    private let state = Mutex(State())

    init(_ download: any ObjectDownload, index: GzipMemberIndex, pieces: ImportPieces) {
        self.download = download
        self.index = index
        self.pieces = pieces
        var info = download.info
        info.size = index.members.dropFirst().reduce(0) { $0 + $1.compressed - ImportPieces.overhead }
        self.info = info
    }

    /// The next gzip member; `nil` at the end of the object.
    /// - Throws: ``ObjectError/corrupted(_:)`` if it cannot be decrypted or the object has another size.
    func next() async throws(ObjectError) -> [UInt8]? {
        var state = self.state.withLock { state in
            defer { state.bytes = [] }
            return state
        }
        defer { self.state.withLock { [state] in $0 = state } }
        while state.number < self.index.members.count {
            let size = self.index.members[state.number].compressed
            while state.bytes.count < size {
                guard let part = try await self.download.next() else { throw .corrupted("the encrypted object is truncated") }
                state.bytes += part
            }
            let member: [UInt8]
            do throws(ImportError) {
                member = try self.pieces.openMember(state.bytes[..<size], number: state.number, of: self.index.members.count)
            } catch {
                throw .corrupted(error.reason)
            }
            state.bytes.removeFirst(size)
            state.number += 1
            if !member.isEmpty { return member }
        }
        guard state.bytes.isEmpty, try await self.download.next() == nil else {
            throw .corrupted("the encrypted object is longer than its index")
        }
        return nil
    }
}
