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
    /// Path of a file of certificates (PEM) to trust instead of the system's; `nil`: the system's.
    private let authorities: String?
    private let clock = ContinuousClock()

    /// Transfers that libcurl is executing, by the id of their exchange.
    private var running: [UInt64: Transfer] = [:]
    /// Number of running transfers with a streamed response.
    private var runningStreams = 0
    /// Exchanges whose response is not streamed and that wait for a connection.
    private var waiting: Deque<Exchange> = []
    /// Exchanges with a streamed response that wait for a connection.
    private var waitingStreams: Deque<Exchange> = []
    /// Whether the message ``TransportMessage/close(_:)`` was received.
    private var isClosing = false
    /// Callers of ``Transport/close()``, resumed as the thread's last action.
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
    /// - Returns: `nil` if no thread can be created; the multi handle was then freed.
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
            // Start the exchanges that wait for a connection, after the steps above, each of which may have freed one. If any
            // is started, `curl_multi_poll` returns immediately, so that the next round sends its request without delay.
            self.startWaiting()
            let result = curl_multi_poll(self.multi, nil, 0, self.timeoutMilliseconds, nil)
            // It fails without memory or file descriptors, and then without waiting.
            if result != CURLM_OK { usleep(10_000) }
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

    /// Sets libcurl's maximum numbers of connections: per host, in total, and idle.
    private func setLimits() {
        let most = self.limits.connections + self.limits.streams
        flowhub_curl_multi_set_long(self.multi, CURLMOPT_MAX_HOST_CONNECTIONS, most)
        flowhub_curl_multi_set_long(self.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, most)
        // Maximum number of idle connections that libcurl keeps for reuse.
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
            // Resumes sending and receiving. Within this call, libcurl passes the response bytes that it has buffered to the
            // transfer's callback.
            curl_easy_pause(transfer.easy, CURLPAUSE_CONT)
        case .cancel(let id): self.cancel(id)
        case .close(let closer):
            self.isClosing = true
            if let closer { self.closers.append(closer) }
        }
    }

    /// Processes a message that was still in the mailbox when the transport closed: ends a new exchange with
    /// ``TransportError/closed``, and remembers a further caller of ``Transport/close()``.
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

    /// Ends all exchanges that wait for a connection and match the predicate, with this error, and removes them from the
    /// queues.
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

    /// Creates the transfer of an exchange and adds it to libcurl. If that fails, for lack of memory or of a libcurl option,
    /// ends the exchange with an error.
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
            // Read before `finish` removes the handle, because libcurl's message is invalid afterwards.
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

    /// The deadline of a transfer; `nil` for a streamed response whose head has arrived: the duration of its body depends
    /// on the task that reads it. For such a response, libcurl's idle timeout detects a stalled server.
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
