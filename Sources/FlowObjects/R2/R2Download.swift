import FlowCore

/// An object, or a range of it, as it comes from R2. A connection that breaks is made again from the byte that was reached, as long
/// as the object is the same.
actor R2Download: ObjectDownload {
    nonisolated let info: ObjectInfo
    private let client: R2Client
    /// What is still to come, in bytes of the object.
    private var rest: Range<Int>
    private var body: TransportBody?
    private var machine: RetryPolicy
    private let start: ContinuousClock.Instant
    private var received = 0
    /// Bytes since the last failure.
    private var progress = 0
    private var failure: ObjectError?
    private var isReported = false

    /// After so many bytes a failure counts as the first one again. Without such a bound a store that gives a byte at a time
    /// would be asked for ever.
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
        // A reader that has enough lets go.
        if !self.isReported { self.client.observe(.get, since: self.start, bytes: self.received, isSuccess: true) }
    }

    /// Asks for it, until its head is there.
    static func open(_ client: R2Client, _ key: String, _ range: Range<Int>?) async throws(ObjectError) -> R2Download {
        if let range, range.isEmpty || range.lowerBound < 0 {
            throw .invalid("A range has at least one byte, and begins at 0 or above.")
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

    private static func request(_ key: String, _ range: Range<Int>?, etag: String?) -> R2Request {
        var request = R2Request(.get, key: key)
        if let range { request.headers.append(NamedValue("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        if let etag { request.headers.append(NamedValue("If-Match", "\"\(etag)\"")) }
        request.isStreamed = true
        return request
    }

    /// What a head announces: the object, and which bytes of it follow.
    private static func read(
        _ key: String, _ head: TransportHead, _ range: Range<Int>?
    ) throws(R2Failure) -> (ObjectInfo, Range<Int>) {
        // Whoever unpacks in between changes sizes and places.
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

    func next() async throws(ObjectError) -> [UInt8]? {
        if let failure { throw failure }
        while !self.rest.isEmpty {
            let failure: R2Failure
            do throws(R2Failure) { return try await self.read() } catch { failure = error }
            self.body = nil
            try await self.recover(failure)
        }
        // The end after the last byte lets the connection be used again.
        _ = try? await self.body?.next()
        self.body = nil
        self.report(isSuccess: true)
        return nil
    }

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

    /// The body that is being read; after a failure another one, of the same object, from the byte that was reached.
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

    /// Returns when another attempt is due.
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

    private func reason(_ failure: R2Failure) -> ObjectError {
        switch failure.reason {
        case .transport(.short): .corrupted("R2 gave fewer bytes than it had announced.")
        case .contentMismatch: .corrupted("R2 gave other bytes than it had announced.")
        case .answer(412, _): .corrupted("The object was replaced while it was read.")
        default: ObjectError(failure, bucket: self.client.settings.bucket)
        }
    }

    private func report(isSuccess: Bool) {
        if self.isReported { return }
        self.isReported = true
        self.client.observe(.get, since: self.start, bytes: self.received, isSuccess: isSuccess)
    }
}
