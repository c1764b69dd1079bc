public import Logging
import Synchronization

/// An object store that counts and times the operations of another one, and logs those that the store failed.
public final class CountedObjectStore: ObjectStore {
    private let store: any ObjectStore
    private let meter: ObjectStoreMeter

    /// - Parameters:
    ///   - counters: daily counters; `nil` unless the store is R2.
    ///   - now: clock for durations.
    public init(
        _ store: any ObjectStore, counters: (any Counters)?, now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.store = store
        self.meter = ObjectStoreMeter(counters: counters, now: now, logger: logger)
    }

    /// The operations of this process so far.
    public var metrics: ObjectStoreMetrics { self.meter.metrics }
    public var provider: String { self.store.provider }
    public var bucket: String { self.store.bucket }

    /// Starts an upload, which is counted as one `put` when it ends.
    public func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        let start = self.meter.start()
        do throws(ObjectError) {
            return CountedUpload(try await self.store.upload(key, attributes), self.meter, since: start)
        } catch {
            self.meter.end(.put, since: start, isSuccess: false)
            self.meter.note(error, in: .put)
            throw error
        }
    }

    /// Starts a download, which is counted as one `get` when it ends.
    public func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        let start = self.meter.start()
        do throws(ObjectError) {
            return CountedDownload(try await self.store.download(key, range: range), self.meter, since: start)
        } catch {
            self.meter.end(.get, since: start, isSuccess: false)
            self.meter.note(error, in: .get)
            throw error
        }
    }

    /// The attributes of an object; `nil` if there is none. Counted as `head`.
    public func head(_ key: String) async throws(ObjectError) -> ObjectInfo? {
        try await self.meter.counting(.head) { () async throws(ObjectError) in try await self.store.head(key) }
    }

    /// Deletes an object. Counted as `delete`.
    public func delete(_ key: String) async throws(ObjectError) {
        try await self.meter.counting(.delete) { () async throws(ObjectError) in try await self.store.delete(key) }
    }

    /// Lists at most `limit` objects under a prefix. Counted as `list`.
    public func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try await self.meter.counting(.list) { () async throws(ObjectError) in
            try await self.store.list(prefix: prefix, after: after, limit: limit)
        }
    }

    /// A download link; `nil` if the store does not support links. Not counted, since it needs no request.
    public func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try self.store.presign(key, seconds: seconds, fileName: fileName)
    }
}

/// An upload that counts its bytes, and itself once when it is finished or aborted.
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

    /// Counts the bytes and writes them to the object.
    func write(_ bytes: [UInt8]) async throws(ObjectError) {
        self.bytes.add(bytes.count, ordering: .relaxed)
        do throws(ObjectError) {
            try await self.upload.write(bytes)
        } catch {
            self.meter.note(error, in: .put)
            throw error
        }
    }

    /// Passes the metadata on.
    func describe(_ metadata: [String: String]) async { await self.upload.describe(metadata) }

    /// Completes the object. Only a success is counted here: after an error the caller has to call
    /// ``abort()``.
    func finish() async throws(ObjectError) -> ObjectInfo {
        do throws(ObjectError) {
            let info = try await self.upload.finish()
            self.count(isSuccess: true)
            return info
        } catch {
            self.meter.note(error, in: .put)
            throw error
        }
    }

    /// Counts a failure and discards the object.
    /// - Returns: whether it is certain that nothing of it remains.
    @discardableResult
    func abort() async -> Bool {
        self.count(isSuccess: false)
        return await self.upload.abort()
    }

    /// Counts the upload, unless it was counted before.
    private func count(isSuccess: Bool) {
        guard !self.isCounted.exchange(true, ordering: .relaxed) else { return }
        self.meter.end(.put, since: self.start, bytes: self.bytes.load(ordering: .relaxed), isSuccess: isSuccess)
    }
}

/// A download that counts its bytes, and itself once when it ends or is released.
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

    /// Counts a download that is released before all its bytes were read as a success: the caller needed no more of
    /// them.
    deinit { self.count(isSuccess: true) }

    var info: ObjectInfo { self.download.info }

    /// The next bytes of the download; `nil` at its end.
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
            self.meter.note(error, in: .get)
            throw error
        }
    }

    /// Counts the download, unless it was counted before.
    private func count(isSuccess: Bool) {
        guard !self.isCounted.exchange(true, ordering: .relaxed) else { return }
        self.meter.end(.get, since: self.start, bytes: self.bytes.load(ordering: .relaxed), isSuccess: isSuccess)
    }
}
