import CCurl
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// HTTP/1.1 by libcurl: sends what it is given, as it is given, and hands out what comes, at its reader's pace.
///
/// One thread of its own drives everything; connections are kept and used again. Safe to use from any task; nothing here blocks a
/// task's thread. libcurl may send a request a second time if a kept connection turns out to be closed: what must not happen
/// twice must say so by a condition.
final class Transport: Sendable {
    /// `curl_global_init` is called once in a process.
    private static let isInitialised = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let limits: TransportLimits
    private let mailbox: TransportMailbox
    private let thread: Mutex<pthread_t?>
    private let lastID = Atomic<UInt64>(0)

    /// - Parameter authorities: a file of certificates (PEM) to trust instead of the system's.
    init(_ limits: TransportLimits, authorities: String? = nil) throws(TransportError) {
        guard Self.isInitialised, let multi = curl_multi_init() else { throw .other(CURLE_FAILED_INIT.rawValue) }
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

    /// Ends what is under way with ``TransportError/closed`` and waits until the thread is gone.
    func close() async {
        await withCheckedContinuation { closer in
            if !self.mailbox.send(.close(closer)) { closer.resume() }
        }
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        // It has nothing left to do.
        if let thread { pthread_join(thread, nil) }
    }

    /// Sends a request and waits for the head of the answer. Cancelling the task cancels the request.
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

    /// Sends a request and waits for the whole answer.
    /// - Parameter limit: bytes of its body. More are ``TransportError/malformed``.
    func send(_ request: TransportRequest, limit: Int) async throws(TransportError) -> (head: TransportHead, body: [UInt8]) {
        let (head, body) = try await self.open(request)
        return (head, try await body.collect(limit: limit))
    }

    private func start(_ request: TransportRequest) -> Exchange {
        let exchange = Exchange(
            id: self.lastID.add(1, ordering: .relaxed).newValue, request,
            deadline: .now + .milliseconds(self.limits.requestMilliseconds),
            bufferBytes: max(0, self.limits.bufferBytes - TransportLimits.receiveBytes))
        if !self.mailbox.send(.start(exchange)) { exchange.end(.closed) }
        return exchange
    }
}

/// The body of an answer. Read by one task. Whoever lets go of it stops the transfer.
final class TransportBody: Sendable {
    private let exchange: Exchange
    private let mailbox: TransportMailbox

    fileprivate init(_ exchange: Exchange, _ mailbox: TransportMailbox) {
        self.exchange = exchange
        self.mailbox = mailbox
    }

    deinit { if !self.exchange.hasEnded { self.mailbox.send(.cancel(self.exchange.id)) } }

    /// The next bytes, as many as have come; `nil` at the end. A reader that does not ask stops the sender.
    func next() async throws(TransportError) -> [UInt8]? {
        try await withTaskCancellationHandler {
            await self.exchange.next { self.mailbox.send(.resume(self.exchange.id)) }
        } onCancel: {
            self.mailbox.send(.cancel(self.exchange.id))
        }.get()
    }

    /// All of it.
    func collect(limit: Int) async throws(TransportError) -> [UInt8] {
        var bytes: [UInt8] = []
        while let more = try await self.next() {
            guard bytes.count + more.count <= limit else { throw .malformed }
            if bytes.isEmpty { bytes = more } else { bytes += more }
        }
        return bytes
    }
}
