import CCurl
import DequeModule

#if canImport(Glibc)
import Glibc
#endif

/// The thread that drives all transfers through one libcurl multi handle. It waits in `curl_multi_poll` for sockets and
/// for messages. All state is confined to that thread; other threads send messages to the mailbox.
final class TransportDriver {
    private let multi: UnsafeMutableRawPointer
    private let mailbox: TransportMailbox
    private let limits: TransportLimits
    private let authorities: String?
    private let clock = ContinuousClock()

    /// Transfers in libcurl, by the id of their exchange.
    private var running: [UInt64: Transfer] = [:]
    /// Number of running transfers with a streamed response.
    private var runningStreams = 0
    /// Exchanges that wait for a connection.
    private var waiting: Deque<Exchange> = []
    /// Exchanges with a streamed response that wait for a connection.
    private var waitingStreams: Deque<Exchange> = []
    private var isClosing = false
    /// Callers of ``Transport/close()``, resumed at the end of the thread.
    private var closers: [CheckedContinuation<Void, Never>] = []

    private init(
        _ multi: UnsafeMutableRawPointer, _ mailbox: TransportMailbox, _ limits: TransportLimits, authorities: String?
    ) {
        self.multi = multi
        self.mailbox = mailbox
        self.limits = limits
        self.authorities = authorities
    }

    /// Starts the thread, which takes ownership of the multi handle.
    /// - Returns: `nil` if no thread can be created; then the handle is freed.
    static func start(
        _ multi: UnsafeMutableRawPointer, _ mailbox: TransportMailbox, _ limits: TransportLimits, authorities: String?
    ) -> pthread_t? {
        let driver = TransportDriver(multi, mailbox, limits, authorities: authorities)
        let context = Unmanaged.passRetained(driver)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<TransportDriver>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        if code == 0 { return thread }
        context.release()
        _ = mailbox.close()
        curl_multi_cleanup(multi)
        return nil
    }

    /// Drives transfers until the transport is closed, then ends all exchanges and frees the multi handle.
    private func run() {
        Self.prepareThread()
        self.setLimits()
        while true {
            for message in self.mailbox.receive() { self.process(message) }
            if self.isClosing { break }
            var remaining: Int32 = 0
            curl_multi_perform(self.multi, &remaining)
            self.collect()
            for transfer in self.running.values where transfer.needsFlush { transfer.flush() }
            self.failOverdue()
            // Last, since each step above may free a connection. After a transfer was added, `curl_multi_poll` returns
            // immediately.
            self.startWaiting()
            curl_multi_poll(self.multi, nil, 0, self.timeoutMilliseconds, nil)
        }
        for transfer in self.running.values { self.finish(transfer, .closed) }
        for exchange in self.waiting + self.waitingStreams { exchange.end(.closed) }
        for message in self.mailbox.close() { self.reject(message) }
        curl_multi_cleanup(self.multi)
        for closer in self.closers { closer.resume() }
    }

    /// Names the thread, and blocks SIGPIPE on it.
    private static func prepareThread() {
        flowhub_name_thread("flowhub-objects")
        // OpenSSL writes to sockets without MSG_NOSIGNAL, and with CURLOPT_NOSIGNAL libcurl does not ignore SIGPIPE:
        // otherwise a connection that the server closed would end the process.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Sets libcurl's limits of connections.
    private func setLimits() {
        let most = self.limits.connections + self.limits.streams
        flowhub_curl_multi_set_long(self.multi, CURLMOPT_MAX_HOST_CONNECTIONS, most)
        flowhub_curl_multi_set_long(self.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, most)
        // Idle connections to keep for reuse.
        flowhub_curl_multi_set_long(self.multi, CURLMOPT_MAXCONNECTS, self.limits.connections)
    }

    // MARK: Messages

    /// Processes a message while the transport is open.
    private func process(_ message: TransportMessage) {
        switch message {
        case .start(let exchange):
            if exchange.request.isStreamed { self.waitingStreams.append(exchange) } else { self.waiting.append(exchange) }
        case .resume(let id):
            guard let transfer = self.running[id] else { return }
            // Resumes both directions. libcurl delivers its buffered bytes within this call.
            curl_easy_pause(transfer.easy, CURLPAUSE_CONT)
        case .cancel(let id): self.cancel(id)
        case .close(let closer):
            self.isClosing = true
            if let closer { self.closers.append(closer) }
        }
    }

    /// Answers a message that arrived after the transport was closed.
    private func reject(_ message: TransportMessage) {
        switch message {
        case .start(let exchange): exchange.end(.closed)
        case .close(.some(let closer)): self.closers.append(closer)
        case .resume, .cancel, .close: break
        }
    }

    /// Ends the exchange with this id as cancelled, if it has not ended yet.
    private func cancel(_ id: UInt64) {
        if let transfer = self.running[id] { return self.finish(transfer, .cancelled) }
        self.drop(.cancelled) { $0.id == id }
    }

    /// Ends those exchanges with an error that still wait for a connection and match the predicate.
    private func drop(_ error: TransportError, _ matches: (Exchange) -> Bool) {
        for exchange in self.waiting + self.waitingStreams where matches(exchange) { exchange.end(error) }
        self.waiting.removeAll(where: matches)
        self.waitingStreams.removeAll(where: matches)
    }

    // MARK: Transfers

    /// Starts waiting exchanges, as far as the limits of connections allow.
    private func startWaiting() {
        while self.running.count - self.runningStreams < self.limits.connections, let exchange = self.waiting.popFirst() {
            self.start(exchange)
        }
        while self.runningStreams < self.limits.streams, let exchange = self.waitingStreams.popFirst() { self.start(exchange) }
    }

    /// Hands an exchange to libcurl. If that fails for lack of memory, ends the exchange.
    private func start(_ exchange: Exchange) {
        guard let transfer = Transfer(exchange, headBytes: self.limits.headBytes),
            transfer.prepare(self.limits, authorities: self.authorities),
            curl_multi_add_handle(self.multi, transfer.easy) == CURLM_OK
        else { return exchange.end(.other(CURLE_FAILED_INIT.rawValue)) }
        self.running[exchange.id] = transfer
        if exchange.request.isStreamed { self.runningStreams += 1 }
    }

    /// Ends the exchanges whose transfers libcurl has finished.
    private func collect() {
        var remaining: Int32 = 0
        while let message = curl_multi_info_read(self.multi, &remaining) {
            guard message.pointee.msg == CURLMSG_DONE, let context = flowhub_curl_context(message.pointee.easy_handle) else {
                continue
            }
            // The message is invalid after the handle is removed.
            let code = message.pointee.data.result
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            self.finish(transfer, transfer.outcome(code))
        }
    }

    /// Removes a transfer from libcurl and ends its exchange; `error` is `nil` if the response is complete.
    private func finish(_ transfer: Transfer, _ error: TransportError?) {
        curl_multi_remove_handle(self.multi, transfer.easy)
        self.running[transfer.exchange.id] = nil
        if transfer.exchange.request.isStreamed { self.runningStreams -= 1 }
        transfer.exchange.end(error)
    }

    // MARK: Time

    /// Ends all exchanges whose deadline has passed, with ``TransportError/timeout``.
    private func failOverdue() {
        let now = self.clock.now
        for transfer in self.running.values where self.deadline(of: transfer).map({ $0 <= now }) ?? false {
            self.finish(transfer, .timeout)
        }
        self.drop(.timeout) { $0.deadline <= now }
    }

    /// The deadline of a transfer; `nil` for a streamed response after its head, whose duration depends on the reader.
    /// There, libcurl's idle timeout detects a stalled server.
    private func deadline(of transfer: Transfer) -> ContinuousClock.Instant? {
        transfer.exchange.request.isStreamed && transfer.exchange.hasHead ? nil : transfer.exchange.deadline
    }

    /// Milliseconds until the next deadline, at most ``longestWait``.
    private var timeoutMilliseconds: Int32 {
        let deadlines =
            self.running.values.compactMap { self.deadline(of: $0) } + self.waiting.map(\.deadline)
            + self.waitingStreams.map(\.deadline)
        guard let first = deadlines.min() else { return Self.longestWait }
        let remaining = (first - self.clock.now) / .milliseconds(1)
        return Int32(max(0, min(remaining + 1, Double(Self.longestWait))))
    }

    /// Maximum milliseconds of one `curl_multi_poll`. A message ends the wait immediately.
    private static let longestWait: Int32 = 10_000
}
