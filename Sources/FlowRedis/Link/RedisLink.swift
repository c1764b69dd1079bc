import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A self-healing connection to Redis. It reconnects after each loss, and closes a connection on which a reply is
/// overdue.
///
/// Commands of one turn of the event loop are written together. They are pipelined: none waits for the reply to an
/// earlier one. Safe to use from any thread; ``Events`` are called on the event loop.
final class RedisLink: Sendable {
    struct Events: Sendable {
        /// The handshake has succeeded. Commands that are sent from within the callback go out before all others.
        var ready: @Sendable () -> Void = {}
        /// A connection that was ready is lost.
        var lost: @Sendable () -> Void = {}
        /// An attempt to connect, or its handshake, has failed.
        var failed: @Sendable (RedisError) -> Void = { _ in }
        /// Redis has replied that it does not have a Lua script, for example after a restart. Called at most once a
        /// second.
        var scriptMissing: @Sendable () -> Void = {}
        /// A subscriber connection has received a value: a message, or the confirmation of a subscription.
        var pushed: @Sendable (RESPValue) -> Void = { _ in }
    }

    /// Receives one reply per command, or the error that prevented the replies.
    typealias Completion = @Sendable (Result<[RESPValue], RedisError>) -> Void

    let loop: any EventLoop
    private let core: NIOLoopBoundBox<LinkCore>

    /// - Parameters:
    ///   - name: client name, as in `CLIENT LIST`.
    ///   - hub: public name of the hub. While Redis has another one, the link is not ready and tries again. `nil`: any.
    ///   - isSubscriber: `true` for the subscriber connection. After the handshake, every received value is passed to
    ///     ``Events/pushed``, and completions are called without waiting for a reply.
    ///   - counter: counts the commands that are sent.
    /// - Throws: ``RedisError`` with the code `url` if the certificates in `FLOWHUB_REDIS_CA` cannot be read.
    init(
        _ settings: RedisSettings, name: String, hub: String? = nil, isSubscriber: Bool, loop: any EventLoop, logger: Logger,
        counter: CommandCounter = CommandCounter()
    ) throws(RedisError) {
        let tls = settings.usesTLS ? try Self.tls(settings) : nil
        self.loop = loop
        self.core = NIOLoopBoundBox.makeBoxSendingValue(
            LinkCore(
                settings, name: name, hub: hub, isSubscriber: isSubscriber, tls: tls, loop: loop, logger: logger,
                counter: counter),
            eventLoop: loop)
    }

    /// Starts to connect. From then on each lost connection is replaced, until ``stop()``.
    /// - Parameter events: called on the event loop.
    func start(_ events: Events) { self.onLoop { $0.start(events) } }

    /// Fails the pending commands, closes the connection, and does not reconnect.
    func stop() async {
        let done = self.loop.makePromise(of: Void.self)
        self.onLoop { $0.stop(done) }
        try? await done.futureResult.get()
    }

    /// Sends the commands one after the other. An error reply does not fail the call: it is in the result, at the index
    /// of its command.
    /// - Parameter completion: called once, on the event loop, with one reply per command, or with the error that
    ///   prevented them.
    func send(_ commands: [RESPCommand], _ completion: @escaping Completion = { _ in }) {
        self.onLoop { $0.send(commands, completion) }
    }

    /// Sends the commands and waits for one reply per command. An error reply is not thrown: it is in the result, at
    /// the index of its command.
    /// - Throws: ``RedisError`` if the commands were not sent, or if the connection is lost before the last reply.
    func run(_ commands: [RESPCommand]) async throws(RedisError) -> [RESPValue] {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<[RESPValue], RedisError>, Never>) in
            self.send(commands) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Like ``run(_:)``, but waits at most `milliseconds`. A reply that arrives later is discarded; the connection
    /// stays open.
    /// - Throws: ``RedisError/timedOut`` if there is no reply in time.
    func run(_ commands: [RESPCommand], within milliseconds: Int) async throws(RedisError) -> [RESPValue] {
        let loop = self.loop
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<[RESPValue], RedisError>, Never>) in
            let answer = FirstAnswer(continuation)
            let timeout = loop.scheduleTask(in: .milliseconds(Int64(milliseconds))) { answer.resume(.failure(.timedOut)) }
            self.send(commands) { result in
                timeout.cancel()
                answer.resume(result)
            }
        }
        return try result.get()
    }

    /// Closes the connection as if it had been lost, and reconnects.
    /// - Parameter error: why; the reason is logged.
    func replace(_ error: RedisError = .timedOut) { self.onLoop { $0.drop(error) } }

    /// Resumes or pauses reading. While it is paused, data stays in the socket buffers and then queues at the server,
    /// which disconnects clients over its output buffer limit.
    func setReading(_ isReading: Bool) { self.onLoop { $0.setReading(isReading) } }

    /// Runs a closure on the event loop: immediately if the caller is on it.
    private func onLoop(_ body: @escaping @Sendable (LinkCore) -> Void) {
        if self.loop.inEventLoop {
            body(self.core.value)
        } else {
            self.loop.execute { body(self.core.value) }
        }
    }

    /// The TLS settings. Server certificates are verified against `FLOWHUB_REDIS_CA`, or else the system's authorities.
    private static func tls(_ settings: RedisSettings) throws(RedisError) -> NIOSSLContext {
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            if let file = settings.authorities { configuration.trustRoots = .file(file) }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw RedisError(
                .url, "Cannot load the certificates in FLOWHUB_REDIS_CA: it must be the path of a readable PEM file.")
        }
    }
}

/// Resumes a continuation with the first of two results, and ignores the second.
private final class FirstAnswer: Sendable {
    private let continuation: Mutex<CheckedContinuation<Result<[RESPValue], RedisError>, Never>?>

    init(_ continuation: CheckedContinuation<Result<[RESPValue], RedisError>, Never>) {
        self.continuation = Mutex(continuation)
    }

    /// Resumes the continuation if this is the first call.
    func resume(_ result: Result<[RESPValue], RedisError>) {
        let continuation = self.continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        continuation?.resume(returning: result)
    }
}
