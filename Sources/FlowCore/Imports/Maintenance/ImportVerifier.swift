/// Looks whether what the ledger says of an import is so.
public struct ImportVerifier: Sendable {
    public enum Problem: Hashable, Sendable {
        /// The ledger names an object that is not there.
        case objectMissing
        case size(expected: Int, found: Int)
        case dataHash
        case contentHash
        case count(expected: Int, found: Int)
        /// Rows beside the object: other services added them after the records had moved, or a move back was interrupted.
        case rowsBeside(Int)
        case unreadable(String)
    }

    private let service: ImportService

    public init(_ service: ImportService) { self.service = service }

    /// Reads the whole of it.
    /// - Returns: what is wrong; empty if nothing is.
    public func verify(_ entry: Import, progress: @escaping @Sendable (Int) -> Void) async throws(ImportError) -> [Problem] {
        guard entry.status == .stored else { return [] }
        var problems: [Problem] = []
        if let location = entry.location {
            guard let objects = self.service.objects, objects.provider == entry.provider else {
                throw .objects(.refused("the import's object is in a store that is not configured (\(entry.provider))"))
            }
            let found: (any ObjectDownload)?
            do throws(ObjectError) {
                found = try await objects.download(location, range: nil)
            } catch .notFound {
                found = nil
            } catch {
                throw .objects(error)
            }
            guard let download = found else { return [.objectMissing] }
            if let size = entry.storage?.sizeBytes, size != download.info.size {
                problems.append(.size(expected: size, found: download.info.size))
            }
            let hashing = HashingDownload(download, self.service.codec)
            let index = try await self.service.index(of: entry)
            problems += try await self.read(ImportDocument(hashing, index: index, codec: self.service.codec), entry, progress)
            if let hash = entry.storage?.dataHash, hash != hashing.finish() { problems.append(.dataHash) }
            let rows = try await self.digestCount(entry)
            let samples = try await self.sampleCount(entry)
            if rows > samples { problems.append(.rowsBeside(rows - samples)) }
        } else {
            let rows = ImportDocument(rows: self.service.records, of: entry.id, codec: self.service.codec)
            problems += try await self.read(rows, entry, progress)
        }
        return problems
    }

    private func read(
        _ document: ImportDocument, _ entry: Import, _ progress: (Int) -> Void
    ) async throws(ImportError) -> [Problem] {
        let walk = RecordPageIterator(document, limits: .stored)
        let content = self.service.codec.makeHash()
        var count = 0
        do throws(ImportError) {
            while let page = try await walk.next() {
                page.hash(into: content)
                count += page.records.count
                progress(count)
            }
        } catch .damaged(let what) {
            return [.unreadable(what)]
        }
        var problems: [Problem] = []
        if let total = entry.totalRecords, total != count { problems.append(.count(expected: total, found: count)) }
        // What an older service wrote has none.
        if let hash = entry.storage?.contentHash, !hash.isEmpty, hash != content.finish() { problems.append(.contentHash) }
        return problems
    }

    private func digestCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.records.digest(of: entry.id).count } catch { throw .store(error) }
    }

    private func sampleCount(_ entry: Import) async throws(ImportError) -> Int {
        do throws(StoreError) { return try await self.service.ledger.samples(of: entry.id).count } catch { throw .store(error) }
    }
}

extension ImportVerifier.Problem: CustomStringConvertible {
    /// Whether records are lost or changed.
    public var isDamage: Bool {
        if case .rowsBeside = self { false } else { true }
    }

    public var description: String {
        switch self {
        case .objectMissing: "the object is missing"
        case .size(let expected, let found): "the object has \(found) bytes instead of \(expected)"
        case .dataHash: "the object is not the one that was stored (data_hash)"
        case .contentHash: "the records are not those that were stored (content_hash)"
        case .count(let expected, let found): "there are \(found) records instead of \(expected)"
        case .rowsBeside(let count):
            "\(count) rows beside the object: late ones, or of a move that was interrupted; move --to postgres takes them in"
        case .unreadable(let what): what
        }
    }
}
