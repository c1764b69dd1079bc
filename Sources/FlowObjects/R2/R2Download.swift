import FlowCore

/// The reading of one object, or of a range of it, as its bytes arrive. If the connection breaks, a ranged read continues
/// from the next missing byte, provided that the object is unchanged.
actor R2Download: ObjectDownload {
    nonisolated let info: ObjectInfo
    private let client: R2Client
    /// Range of the requested bytes that were not received yet.
    private var rest: Range<Int>
    /// Body of the current response; `nil` after a failure and at the end.
    private var body: TransportBody?
    /// Decides on retries. Replaced by a new one at a failure before which at least ``step`` bytes arrived.
    private var machine: RetryPolicy
    /// Start of the download, for the duration that is reported to the observer.
    private let start: ContinuousClock.Instant
    /// Number of bytes of the object received so far.
    private var received = 0
    /// Number of bytes received since the most recent failure.
    private var progress = 0
    /// The final error, which every later ``next()`` throws again.
    private var failure: ObjectError?
    /// Whether the download was reported to the observer.
    private var isReported = false

    /// Bytes that must arrive after a failure so that the next failure counts as the first one again. Without this
    /// minimum, a store that sends one byte per attempt would be retried indefinitely.
    private static let step = 65_536

    private init(
        _ client: R2Client, _ info: ObjectInfo, _ rest: Range<Int>, _ body: TransportBody, start: ContinuousClock.Instant
    ) {
        self.client = client
        self.info = info
        self.rest = rest
        self.body = body
        self.start = start
        self.machine = RetryPolicy(client.settings.limits, now: .now)
    }

    deinit {
        // Released before the end of the object: a caller that stops reading early is reported as success.
        if !self.isReported { self.client.observe(.get, since: self.start, bytes: self.received, isSuccess: true) }
    }

    /// Sends the request for an object or a range of it, with retries, and waits for the response head.
    /// - Parameter range: the bytes to read; `nil` for the whole object.
    static func open(_ client: R2Client, _ key: String, _ range: Range<Int>?) async throws(ObjectError) -> R2Download {
        if let range, range.isEmpty || range.lowerBound < 0 {
            throw .invalid(
                "The byte range from \(range.lowerBound) to \(range.upperBound) is empty or starts below 0.")
        }
        let start = ContinuousClock.now
        do throws(R2Failure) {
            let (head, body) = try await client.open(Self.request(key, range, etag: nil))
            let (info, bytes) = try Self.read(key, head, range)
            return R2Download(client, info, bytes, body, start: start)
        } catch {
            client.observe(.get, since: start, isSuccess: error.isMissingObject)
            throw ObjectError(error, bucket: client.settings.bucket)
        }
    }

    /// The request for an object or a range of it.
    /// - Parameter etag: ETag that the object must still have; `nil` for any.
    private static func request(_ key: String, _ range: Range<Int>?, etag: String?) -> R2Request {
        var request = R2Request(.get, key: key)
        if let range { request.headers.append(NamedValue("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        if let etag { request.headers.append(NamedValue("If-Match", "\"\(etag)\"")) }
        request.isStreamed = true
        return request
    }

    /// The object and the byte range that a response head announces.
    /// - Parameter range: the requested range; `nil` for the whole object.
    /// - Throws: ``R2Failure`` if the status, range or encoding is not the requested one, or the ETag or size is missing.
    private static func read(
        _ key: String, _ head: TransportHead, _ range: Range<Int>?
    ) throws(R2Failure) -> (ObjectInfo, Range<Int>) {
        // A proxy that decompresses the object would change the size and the offsets of its bytes.
        guard head["content-encoding"].map({ $0.lowercased() == "identity" }) ?? true else { throw R2Failure(.contentMismatch) }
        guard let range else {
            guard head.status == 200, let object = ObjectHead(key, head) else { throw R2Failure(.invalidResponse) }
            return (object.info, 0..<object.info.size)
        }
        guard head.status == 206, let sent = head["content-range"].flatMap(ContentRange.init),
            sent.bytes == range.lowerBound..<min(range.upperBound, sent.total),
            let object = ObjectHead(key, head, size: sent.total)
        else { throw R2Failure(.invalidResponse) }
        return (object.info, sent.bytes)
    }

    // MARK: ObjectDownload

    /// The next bytes of the object; `nil` at the end of the range. After a failure, reads on from the next missing byte.
    func next() async throws(ObjectError) -> [UInt8]? {
        if let failure { throw failure }
        while !self.rest.isEmpty {
            let failure: R2Failure
            do throws(R2Failure) { return try await self.read() } catch { failure = error }
            self.body = nil
            try await self.recover(failure)
        }
        // Reading the end of the body makes the connection reusable.
        _ = try? await self.body?.next()
        self.body = nil
        self.report(isSuccess: true)
        return nil
    }

    /// Waits for the next bytes of the response, and removes their range from `rest`.
    private func read() async throws(R2Failure) -> [UInt8] {
        let body = try await self.openBody()
        let bytes: [UInt8]?
        do throws(TransportError) { bytes = try await body.next() } catch { throw R2Failure(.transport(error)) }
        guard let bytes else { throw R2Failure(.transport(.short)) }
        guard bytes.count <= self.rest.count else { throw R2Failure(.contentMismatch) }
        self.rest = self.rest.lowerBound + bytes.count..<self.rest.upperBound
        self.received += bytes.count
        self.progress += bytes.count
        return bytes
    }

    /// The body of the current response. After a failure, requests the missing bytes of the same object, without retries,
    /// and returns the body of the new response.
    private func openBody() async throws(R2Failure) -> TransportBody {
        if let body = self.body { return body }
        let (head, body) = try await self.client.attempt(Self.request(self.info.key, self.rest, etag: self.info.etag))
        let (info, bytes) = try Self.read(self.info.key, head, self.rest)
        guard info.etag == self.info.etag, info.size == self.info.size, bytes == self.rest else {
            throw R2Failure(.contentMismatch)
        }
        self.body = body
        return body
    }

    /// Waits until the next attempt after this failure is due.
    /// - Throws: the final error if the retry policy gives up or the task is cancelled.
    private func recover(_ failure: R2Failure) async throws(ObjectError) {
        var machine = self.progress >= Self.step ? RetryPolicy(self.client.settings.limits, now: .now) : self.machine
        self.progress = 0
        do throws(R2Failure) {
            try await self.client.waitOrGiveUp(&machine, failure)
            self.machine = machine
        } catch {
            let reason = self.reason(error)
            self.failure = reason
            self.report(isSuccess: false)
            throw reason
        }
    }

    /// The error that the caller of ``next()`` gets for a failure.
    private func reason(_ failure: R2Failure) -> ObjectError {
        switch failure.reason {
        case .transport(.short): .corrupted("R2 sent fewer bytes of the object than it announced.")
        case .contentMismatch: .corrupted("R2 sent the object with another range, size or encoding than it announced.")
        case .answer(412, _): .corrupted("Another object replaced the one in R2 during the read.")
        default: ObjectError(failure, bucket: self.client.settings.bucket)
        }
    }

    /// Reports the download to the observer. Further calls have no effect.
    private func report(isSuccess: Bool) {
        if self.isReported { return }
        self.isReported = true
        self.client.observe(.get, since: self.start, bytes: self.received, isSuccess: isSuccess)
    }
}
