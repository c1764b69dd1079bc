import Synchronization

/// An object store that counts and times the operations of another one.
public final class CountedObjectStore: ObjectStore {
    private let store: any ObjectStore
    private let meter: ObjectStoreMeter

    /// - Parameters:
    ///   - counters: daily counters; `nil` unless the store is R2.
    ///   - now: clock for durations.
    public init(_ store: any ObjectStore, counters: (any Counters)?, now: @escaping @Sendable () -> Timestamp) {
        self.store = store
        self.meter = ObjectStoreMeter(counters: counters, now: now)
    }

    public var metrics: ObjectStoreMetrics { self.meter.metrics }
    public var provider: String { self.store.provider }
    public var bucket: String { self.store.bucket }

    public func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        let start = self.meter.start()
        do throws(ObjectError) {
            return CountedUpload(try await self.store.upload(key, attributes), self.meter, since: start)
        } catch {
            self.meter.end(.put, since: start, isSuccess: false)
            throw error
        }
    }

    public func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        let start = self.meter.start()
        do throws(ObjectError) {
            return CountedDownload(try await self.store.download(key, range: range), self.meter, since: start)
        } catch {
            self.meter.end(.get, since: start, isSuccess: false)
            throw error
        }
    }

    public func head(_ key: String) async throws(ObjectError) -> ObjectInfo? {
        try await self.meter.counting(.head) { () async throws(ObjectError) in try await self.store.head(key) }
    }

    public func delete(_ key: String) async throws(ObjectError) {
        try await self.meter.counting(.delete) { () async throws(ObjectError) in try await self.store.delete(key) }
    }

    public func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try await self.meter.counting(.list) { () async throws(ObjectError) in
            try await self.store.list(prefix: prefix, after: after, limit: limit)
        }
    }

    public func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try self.store.presign(key, seconds: seconds, fileName: fileName)
    }
}

private final class CountedUpload: ObjectUpload {
    private let upload: any ObjectUpload
    private let meter: ObjectStoreMeter
    private let start: Timestamp
    private let bytes = Atomic<Int>(0)
    private let isCounted = Atomic<Bool>(false)

    init(_ upload: any ObjectUpload, _ meter: ObjectStoreMeter, since start: Timestamp) {
        self.upload = upload
        self.meter = meter
        self.start = start
    }

    func write(_ bytes: [UInt8]) async throws(ObjectError) {
        self.bytes.add(bytes.count, ordering: .relaxed)
        try await self.upload.write(bytes)
    }

    func finish() async throws(ObjectError) -> ObjectInfo {
        let info = try await self.upload.finish()
        self.count(isSuccess: true)
        return info
    }

    @discardableResult
    func abort() async -> Bool {
        self.count(isSuccess: false)
        return await self.upload.abort()
    }

    private func count(isSuccess: Bool) {
        guard !self.isCounted.exchange(true, ordering: .relaxed) else { return }
        self.meter.end(.put, since: self.start, bytes: self.bytes.load(ordering: .relaxed), isSuccess: isSuccess)
    }
}

private final class CountedDownload: ObjectDownload {
    private let download: any ObjectDownload
    private let meter: ObjectStoreMeter
    private let start: Timestamp
    private let bytes = Atomic<Int>(0)
    private let isCounted = Atomic<Bool>(false)

    init(_ download: any ObjectDownload, _ meter: ObjectStoreMeter, since start: Timestamp) {
        self.download = download
        self.meter = meter
        self.start = start
    }

    /// A download that is dropped before its end counts as a success: the caller needed no more of it.
    deinit { self.count(isSuccess: true) }

    var info: ObjectInfo { self.download.info }

    func next() async throws(ObjectError) -> [UInt8]? {
        do throws(ObjectError) {
            guard let part = try await self.download.next() else {
                self.count(isSuccess: true)
                return nil
            }
            self.bytes.add(part.count, ordering: .relaxed)
            return part
        } catch {
            self.count(isSuccess: false)
            throw error
        }
    }

    private func count(isSuccess: Bool) {
        guard !self.isCounted.exchange(true, ordering: .relaxed) else { return }
        self.meter.end(.get, since: self.start, bytes: self.bytes.load(ordering: .relaxed), isSuccess: isSuccess)
    }
}
