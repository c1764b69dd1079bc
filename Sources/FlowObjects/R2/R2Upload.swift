import FlowCore
import Logging

/// The writing of one object to R2. The bytes are collected into parts of equal size, of which at most
/// ``R2Limits/partsInFlight`` are in flight. In memory are only the parts in flight and the part being collected.
///
/// Each upload stores a random upload marker with its object. If R2's reply to the creation of the object is lost, the
/// marker distinguishes the upload's own object from any other, even from one with the same bytes. So an upload neither
/// reports nor deletes an object of another upload.
///
/// If R2's reply to the creation of a multipart upload is lost, R2 may keep a multipart upload without parts, whose id
/// the hub does not know. The import sweep aborts that multipart upload; otherwise R2 aborts it after seven days.
actor R2Upload: ObjectUpload {
    private enum State: Sendable {
        /// Bytes can be written.
        case open
        /// ``R2Upload/finish()`` has created the object.
        case finished
        /// ``R2Upload/write(_:)`` or ``R2Upload/finish()`` has failed with this error; both throw it again from now on.
        case failed(ObjectError)
        /// ``R2Upload/abort()`` was called.
        case aborted
    }

    private typealias PartTask = Task<Result<MultipartUpload.Part, R2Failure>, Never>

    private let client: R2Client
    private let key: String
    /// The header fields of the request that creates the object or the multipart upload.
    private var headers: [NamedValue]
    private let uploadMarker: String
    /// Start of the upload, for the duration that is reported to the observer.
    private let start = ContinuousClock.now

    private var state = State.open
    /// Bytes of the part that is being collected.
    private var pending: [UInt8] = []
    /// Number of bytes passed to ``write(_:)`` so far.
    private var total = 0
    /// The multipart upload; `nil` until one part is full and more bytes follow.
    private var multipart: MultipartUpload?
    /// The tasks that upload the parts in flight, in the order of the parts.
    private var partTasks: [PartTask] = []
    /// The parts that R2 has stored, in the order of the object's bytes.
    private var parts: [MultipartUpload.Part] = []
    /// Whether a failed request may have created the object, so that ``abort()`` must look for it.
    private var mayExist = false
    /// Whether R2 may have a multipart upload that the hub cannot abort, because the reply with its id was lost.
    private var mayHaveOrphanUpload = false

    init(_ client: R2Client, _ key: String, _ attributes: ObjectAttributes) {
        let uploadMarker = RandomText.hex128()
        self.client = client
        self.key = key
        self.uploadMarker = uploadMarker
        // `no-transform` keeps intermediaries from decompressing the bytes (Cloudflare, "Transparent decompression").
        self.headers =
            [NamedValue("Content-Type", attributes.contentType), NamedValue("Cache-Control", "no-transform")]
            + attributes.metadata.sorted { $0.key < $1.key }.map { NamedValue("x-amz-meta-\($0.key)", $0.value) }
            + [NamedValue("x-amz-meta-\(ObjectHead.uploadMarkerName)", uploadMarker)]
    }

    // MARK: ObjectUpload

    /// Appends bytes. Waits while ``R2Limits/partsInFlight`` parts are being uploaded.
    func write(_ bytes: [UInt8]) async throws(ObjectError) {
        try self.mustBeOpen()
        do throws(R2Failure) {
            let partBytes = self.client.settings.limits.partBytes
            var rest = bytes[...]
            while !rest.isEmpty {
                // A full part is uploaded only when more bytes follow, because `finish` uploads an object of one part in a
                // single request.
                if self.pending.count == partBytes { try await self.dispatch() }
                let some = rest.prefix(partBytes - self.pending.count)
                self.pending.append(contentsOf: some)
                self.total += some.count
                rest = rest.dropFirst(some.count)
            }
        } catch {
            throw self.fail(ObjectError(error, bucket: self.client.settings.bucket))
        }
    }

    /// Adds metadata, unless the multipart upload was created: R2 takes the metadata with that request, and changes it
    /// afterwards only by copying the whole object.
    func describe(_ metadata: [String: String]) {
        let added = metadata.sorted { $0.key < $1.key }.map { NamedValue("x-amz-meta-\($0.key)", $0.value) }
        let names = Set(added.map(\.name))
        self.headers = self.headers.filter { !names.contains($0.name) } + added
    }

    /// Creates the object in R2, and verifies that its ETag is that of the bytes written.
    func finish() async throws(ObjectError) -> ObjectInfo {
        try self.mustBeOpen()
        do throws(ObjectError) {
            let info = if let multipart { try await self.complete(multipart) } else { try await self.putWhole() }
            self.state = .finished
            self.pending = []
            self.client.observe(.put, since: self.start, bytes: self.total, isSuccess: true)
            return info
        } catch {
            throw self.fail(error)
        }
    }

    /// Cancels the parts in flight, aborts the multipart upload, and deletes the object if this upload has created it. Has
    /// no effect after a successful ``finish()`` or an earlier ``abort()``, and then returns `true`.
    /// - Returns: whether it is certain that neither parts nor an object of an unfinished upload remain in R2.
    @discardableResult
    func abort() async -> Bool {
        switch self.state {
        case .finished, .aborted: return true
        case .open, .failed: self.state = .aborted
        }
        self.pending = []
        for partTask in self.partTasks { partTask.cancel() }
        for partTask in self.partTasks { _ = await partTask.value }
        self.partTasks = []
        // A separate task, because the caller's task may be cancelled, which would cancel the requests of the cleanup.
        let (multipart, mayExist) = (self.multipart, self.mayExist)
        let isClean = await Task { await self.cleanUp(multipart, mayExist: mayExist) }.value
        return isClean && !self.mayHaveOrphanUpload
    }

    /// - Throws: the error of an earlier call, or ``ObjectError/invalid(_:)`` after ``finish()`` or ``abort()``.
    private func mustBeOpen() throws(ObjectError) {
        switch self.state {
        case .open: return
        case .failed(let error): throw error
        case .finished, .aborted: throw .invalid("The upload was already finished or aborted.")
        }
    }

    /// Records the error, which later calls throw again, and reports the failed upload to the observer.
    /// - Returns: the same error, for the caller to throw.
    private func fail(_ error: ObjectError) -> ObjectError {
        self.state = .failed(error)
        self.client.observe(.put, since: self.start, isSuccess: false)
        return error
    }

    // MARK: In one request

    /// Uploads an object of at most one part in a single request.
    private func putWhole() async throws(ObjectError) -> ObjectInfo {
        let md5 = Digest.md5(self.pending)
        let etag = md5.hexadecimal
        var request = R2Request(.put, key: self.key, headers: self.headers + [NamedValue("If-None-Match", "*")])
        request.setBody(self.pending, md5: md5)
        request.check = { $0.etag == etag ? nil : .contentMismatch }
        return try await self.confirming(etag: etag) { [client] () async throws(R2Failure) -> R2Reply in
            try await client.call(request)
        }
    }

    // MARK: In parts

    /// Starts to upload the collected bytes as a part, without waiting for the reply. Before, waits while too many parts
    /// are in flight, and creates the multipart upload if this is the first part.
    private func dispatch() async throws(R2Failure) {
        let limits = self.client.settings.limits
        guard self.parts.count + self.partTasks.count < limits.maximumParts else {
            throw R2Failure(.tooManyParts(limits.maximumParts))
        }
        while self.partTasks.count >= max(1, limits.partsInFlight) { try await self.awaitOldestPart() }
        let multipart: MultipartUpload
        if let existing = self.multipart {
            multipart = existing
        } else {
            do throws(R2Failure) {
                multipart = try await MultipartUpload.begin(self.client, self.key, headers: self.headers)
            } catch {
                self.mayHaveOrphanUpload = error.mayHaveTakenEffect
                throw error
            }
            self.mayHaveOrphanUpload = multipart.mayHaveOrphanUpload
            self.multipart = multipart
        }
        let number = self.parts.count + self.partTasks.count + 1
        let bytes = self.pending
        self.pending = []
        // Usually another full part follows. Reserving its size avoids repeated copies while it grows.
        self.pending.reserveCapacity(limits.partBytes)
        // A detached task computes the part's hashes outside of this actor. `awaitOldestPart` awaits the task; `abort`
        // cancels and awaits it.
        self.partTasks.append(
            Task.detached {
                do throws(R2Failure) {
                    return .success(try await multipart.put(bytes, number: number))
                } catch {
                    return .failure(error)
                }
            })
    }

    /// Waits until R2 has stored the oldest part in flight, and adds the part to `parts`. Throws the part's failure.
    private func awaitOldestPart() async throws(R2Failure) {
        guard let partTask = self.partTasks.first else { return }
        let result = await withTaskCancellationHandler {
            await partTask.value
        } onCancel: {
            partTask.cancel()
        }
        self.partTasks.removeFirst()
        self.parts.append(try result.get())
    }

    /// Uploads the final part, waits for all parts, and combines them into the object.
    private func complete(_ multipart: MultipartUpload) async throws(ObjectError) -> ObjectInfo {
        do throws(R2Failure) {
            if !self.pending.isEmpty { try await self.dispatch() }
            while !self.partTasks.isEmpty { try await self.awaitOldestPart() }
        } catch {
            throw ObjectError(error, bucket: self.client.settings.bucket)
        }
        let parts = self.parts
        do throws(ObjectError) {
            return try await self.confirming(etag: MultipartUpload.etag(parts)) { () async throws(R2Failure) -> R2Reply in
                try await multipart.complete(parts)
            }
        } catch {
            // When `If-None-Match` fails, R2 deletes the parts; other stores keep them until the upload is aborted.
            if error == .exists { try? await multipart.abort() }
            throw error
        }
    }

    // MARK: Confirmation

    /// Runs `make`, which sends the request that creates the object. If `make` fails and R2 may nevertheless have created
    /// the object, checks whether the object exists.
    /// - Parameter etag: the ETag that the object must have.
    private func confirming(
        etag: String, _ make: () async throws(R2Failure) -> R2Reply
    ) async throws(ObjectError) -> ObjectInfo {
        do throws(R2Failure) {
            let reply = try await make()
            // The time of creation by R2's clock, because later responses give the modification time by that clock, too.
            let lastModified = reply.head["date"].flatMap(ServerTime.http) ?? self.client.now()
            return ObjectInfo(key: self.key, size: self.total, etag: etag, lastModified: lastModified)
        } catch {
            // If R2 reports that an object exists (412), or that the multipart upload does not exist, that may be the
            // effect of an earlier attempt, even of one that libcurl repeated by itself.
            self.mayExist = error.mayHaveTakenEffect || error.isPreconditionFailed || error.code == "NoSuchUpload"
            guard self.mayExist else { throw ObjectError(error, bucket: self.client.settings.bucket) }
            return try await self.verifyObject(after: error, etag: etag)
        }
    }

    /// Checks whether the object under the key is this upload's own, created by a request whose reply was lost.
    /// - Parameter failure: the failure of the request that should have created the object.
    /// - Throws: ``ObjectError/exists`` if the object is another upload's.
    private func verifyObject(after failure: R2Failure, etag: String) async throws(ObjectError) -> ObjectInfo {
        let error = ObjectError(failure, bucket: self.client.settings.bucket)
        if failure.reason == .transport(.cancelled) || failure.reason == .transport(.closed) { throw error }
        let seen: ObjectHead?
        do throws(R2Failure) {
            seen = try await self.client.head(self.key)
        } catch {
            throw ObjectError(error, bucket: self.client.settings.bucket)
        }
        guard let seen else {
            throw failure.isPreconditionFailed
                ? .unavailable("Another object had the same key in R2 and was deleted meanwhile.") : error
        }
        guard seen.uploadMarker == self.uploadMarker else {
            self.mayExist = false
            throw .exists
        }
        guard seen.info.etag == etag, seen.info.size == self.total else {
            throw .corrupted("R2 stored other bytes than the hub sent: the object's ETag or size differs.")
        }
        return seen.info
    }

    /// Aborts the multipart upload, and deletes this upload's own object if it may exist.
    /// - Returns: whether all of that succeeded.
    private func cleanUp(_ multipart: MultipartUpload?, mayExist: Bool) async -> Bool {
        do throws(R2Failure) {
            try await multipart?.abort()
            guard mayExist, let seen = try await self.client.head(self.key), seen.uploadMarker == self.uploadMarker else {
                return true
            }
            try await self.client.delete(self.key)
            return true
        } catch {
            self.client.logger.warning(
                "Aborted upload may have left data in R2; the import sweep will remove it",
                metadata: ["error": "\(ObjectError(error, bucket: self.client.settings.bucket))"])
            return false
        }
    }
}
