import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// One connection to Redis that is always wanted: made, made anew when lost, and given up when it does not answer.
///
/// Commands that come in one turn of the event loop go out in one write, and nobody waits for an answer before the next is
/// sent. Safe to use from any thread; ``Events`` are told on the event loop.
final class RedisLink: Sendable {
    struct Events: Sendable {
        /// The server lets the hub in. Commands from within go out first.
        var ready: @Sendable () -> Void = {}
        var lost: @Sendable () -> Void = {}
        /// A try came to nothing.
        var failed: @Sendable (RedisError) -> Void = { _ in }
        /// The server does not know a script (any more). At most once a second.
        var scriptMissing: @Sendable () -> Void = {}
        /// Something that was not asked for: messages of a connection that has subscribed.
        var pushed: @Sendable (RESPValue) -> Void = { _ in }
    }

    typealias Completion = @Sendable (Result<[RESPValue], RedisError>) -> Void

    let loop: any EventLoop
    private let core: NIOLoopBoundBox<LinkCore>

    /// - Parameters:
    ///   - name: what the server's list of clients shows.
    ///   - isSubscriber: what comes is pushed, and no command has an answer of its own.
    init(
        _ settings: RedisSettings, name: String, isSubscriber: Bool, loop: any EventLoop, logger: Logger, events: Events
    ) throws(RedisError) {
        let tls = settings.usesTLS ? try Self.tls(settings) : nil
        self.loop = loop
        self.core = NIOLoopBoundBox.makeBoxSendingValue(
            LinkCore(
                settings, name: name, isSubscriber: isSubscriber, tls: tls, loop: loop, logger: logger, events: events),
            eventLoop: loop)
    }

    func start() { self.onLoop { $0.start() } }

    /// Fails what is under way, closes, and makes no new connection.
    func stop() async {
        let done = self.loop.makePromise(of: Void.self)
        self.onLoop { $0.stop(done) }
        try? await done.futureResult.get()
    }

    /// Sends the commands in a row. Error replies are values: each is the answer to one command.
    /// - Parameter completion: called once, on the event loop, with an answer to every command or with why there is none.
    func send(_ commands: [RESPCommand], _ completion: @escaping Completion = { _ in }) {
        self.onLoop { $0.send(commands, completion) }
    }

    func run(_ commands: [RESPCommand]) async throws(RedisError) -> [RESPValue] {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<[RESPValue], RedisError>, Never>) in
            self.send(commands) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// As ``run(_:)``, but waits no longer than this: the answer, when it comes, is nobody's.
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

    /// Closes the connection as if it had been lost.
    func replace() { self.onLoop { $0.drop(.timedOut) } }

    /// Reads on, or leaves what comes in the sockets: then it is the server that queues, and cuts who does not read.
    func setReading(_ isReading: Bool) { self.onLoop { $0.setReading(isReading) } }

    private func onLoop(_ body: @escaping @Sendable (LinkCore) -> Void) {
        if self.loop.inEventLoop {
            body(self.core.value)
        } else {
            self.loop.execute { body(self.core.value) }
        }
    }

    private static func tls(_ settings: RedisSettings) throws(RedisError) -> NIOSSLContext {
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            if let file = settings.authorities { configuration.trustRoots = .file(file) }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw RedisError(.url, "The certificates in FLOWHUB_REDIS_CA cannot be read: it must name a file in PEM form.")
        }
    }
}

/// Takes the first of two answers.
private final class FirstAnswer: Sendable {
    private let continuation: Mutex<CheckedContinuation<Result<[RESPValue], RedisError>, Never>?>

    init(_ continuation: CheckedContinuation<Result<[RESPValue], RedisError>, Never>) {
        self.continuation = Mutex(continuation)
    }

    func resume(_ result: Result<[RESPValue], RedisError>) {
        let continuation = self.continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        continuation?.resume(returning: result)
    }
}
