import CCurl
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// HTTP/1.1 client by libcurl. It sends requests unchanged, and receives a response body no faster than its caller reads
/// it (backpressure).
///
/// One thread drives all transfers and reuses connections. Safe to use from any task; never blocks a task's thread.
/// libcurl may send a request twice if a reused connection turns out to be closed: a request that must not take effect
/// twice needs a condition such as `If-None-Match`.
final class Transport: Sendable {
    /// Whether `curl_global_init`, which must be called once per process, has succeeded.
    private static let isInitialized = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let limits: TransportLimits
    private let mailbox: TransportMailbox
    private let thread: Mutex<pthread_t?>
    private let lastID = Atomic<UInt64>(0)

    /// Starts the transport's thread.
    /// - Parameter authorities: path of a file of certificates (PEM) to trust instead of the system's; `nil`: the system's.
    /// - Throws: ``TransportError`` if libcurl cannot be initialized or no thread can be created.
    init(_ limits: TransportLimits, authorities: String? = nil) throws(TransportError) {
        guard Self.isInitialized, let multi = curl_multi_init() else { throw .other(CURLE_FAILED_INIT.rawValue) }
        self.limits = limits
        self.mailbox = TransportMailbox(multi: multi)
        guard let thread = TransportDriver.start(multi, self.mailbox, limits, authorities: authorities) else {
            throw .other(CURLE_FAILED_INIT.rawValue)
        }
        self.thread = Mutex(thread)
    }

    deinit {
        guard let thread = self.thread.withLock({ $0 }) else { return }
        self.mailbox.send(.close(nil))
        pthread_detach(thread)
    }

    /// Ends all requests in flight with ``TransportError/closed``, and waits until the transport's thread has ended.
    func close() async {
        await withCheckedContinuation { closer in
            if !self.mailbox.send(.close(closer)) { closer.resume() }
        }
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        // The thread resumed the continuation as its final action, so that joining it does not block.
        if let thread { pthread_join(thread, nil) }
    }

    /// Sends a request and waits for the response head. Cancelling the task cancels the request.
    func open(_ request: TransportRequest) async throws(TransportError) -> (head: TransportHead, body: TransportBody) {
        let exchange = self.start(request)
        let body = TransportBody(exchange, self.mailbox)
        let head = await withTaskCancellationHandler {
            await exchange.head()
        } onCancel: {
            self.mailbox.send(.cancel(exchange.id))
        }
        return (try head.get(), body)
    }

    /// Sends a request and waits for the whole response.
    /// - Parameter limit: maximum bytes of the body.
    /// - Throws: ``TransportError/malformed`` if the body exceeds the limit.
    func send(_ request: TransportRequest, limit: Int) async throws(TransportError) -> (head: TransportHead, body: [UInt8]) {
        let (head, body) = try await self.open(request)
        return (head, try await body.collect(limit: limit))
    }

    /// Passes a request to the transport's thread. If the transport is closed, ends the exchange with
    /// ``TransportError/closed``. The exchange's buffer is smaller than the limit by the bytes that libcurl may buffer.
    private func start(_ request: TransportRequest) -> Exchange {
        let exchange = Exchange(
            id: self.lastID.add(1, ordering: .relaxed).newValue, request,
            deadline: .now + .milliseconds(self.limits.requestMilliseconds),
            bufferBytes: max(0, self.limits.bufferBytes - TransportLimits.receiveBytes))
        if !self.mailbox.send(.start(exchange)) { exchange.end(.closed) }
        return exchange
    }
}

/// The body of a response, read by one task. Releasing it before its end cancels the transfer.
final class TransportBody: Sendable {
    private let exchange: Exchange
    private let mailbox: TransportMailbox

    fileprivate init(_ exchange: Exchange, _ mailbox: TransportMailbox) {
        self.exchange = exchange
        self.mailbox = mailbox
    }

    deinit { if !self.exchange.hasEnded { self.mailbox.send(.cancel(self.exchange.id)) } }

    /// Waits for the next bytes of the body. If the buffer is full because no call reads it, the transfer is paused
    /// (backpressure).
    /// - Returns: all bytes received since the previous call; `nil` at the end of the body.
    func next() async throws(TransportError) -> [UInt8]? {
        try await withTaskCancellationHandler {
            await self.exchange.next { self.mailbox.send(.resume(self.exchange.id)) }
        } onCancel: {
            self.mailbox.send(.cancel(self.exchange.id))
        }.get()
    }

    /// Waits for the whole body.
    /// - Throws: ``TransportError/malformed`` if the body exceeds `limit` bytes.
    func collect(limit: Int) async throws(TransportError) -> [UInt8] {
        var bytes: [UInt8] = []
        while let more = try await self.next() {
            guard bytes.count + more.count <= limit else { throw .malformed }
            if bytes.isEmpty { bytes = more } else { bytes += more }
        }
        return bytes
    }
}
