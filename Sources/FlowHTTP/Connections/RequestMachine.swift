import DequeModule
import NIOCore

/// The HTTP/1.1 requests of one connection, one after the other: which part of a request comes next, what waits behind the
/// request in progress, which timeout runs, and how the connection ends. It does no I/O and has no clock: the caller passes what
/// happens, and carries out the ``Action`` that each method returns.
///
/// An ordinary request is *idle* → *reading* → *responding* → *idle*, with *verifying* before *reading* if its token is not cached;
/// *responding* → *flushing* → *idle* if the client is slow to read the response. An import is *idle* → *receiving* → *responding*.
/// A request that is rejected at its head and has a small body is *idle* → *discarding* → *idle*. A request for a stream is *idle* →
/// *admitting* → *opening* → *streaming*; a stream that ends like a response leaves an *idle* connection. Every phase → *lingering* (the last bytes are sent, and input is discarded, so that the client
/// receives them) → *closed*.
struct RequestMachine {
    /// Time for the client to close its side after the last bytes were sent.
    static let lingerTime = TimeAmount.seconds(3)

    private(set) var phase = Phase.idle
    /// When the timeout of the phase expires; see ``tick(at:_:_:)``.
    private var deadline: NIODeadline
    /// Parts of further requests that arrived while a request was being answered.
    private var pipelined = Deque<RequestPart>()
    /// The sum of the pipelined parts' bytes.
    private(set) var pipelinedBytes = 0
    /// Bytes of the current body that were read.
    private var bodyBytes = 0
    /// The unsent bytes when the write timeout was started. If there are fewer when it expires, the client has read some.
    private var unsentBytes = 0
    /// Whether the request in progress was received to its end.
    private var hasEnd = false
    /// Whether the connection may carry another request after the one in progress.
    private var isKeptAlive = true
    /// Whether the client of the request in progress knows the transfer coding `chunked`.
    private(set) var readsChunks = true
    /// Whether the connection accepts no further request: see ``quiesce(hasReceivedBytes:queuedBytes:)``.
    private var isQuiescing = false
    /// Whether the rest of the input is discarded as it arrives.
    private var dropsInput = false
    /// Whether the client has closed its sending side.
    private(set) var hasInputEnded = false
    /// Whether a read of the socket was requested and postponed.
    private var isReadPaused = false

    init(at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.deadline = now + .seconds(Int64(configuration.headTimeoutSeconds))
    }

    // MARK: Input

    /// A part of a request was received, or taken from those that waited.
    mutating func received(
        _ part: RequestPart, at now: @autoclosure () -> NIODeadline, _ configuration: HTTPConfiguration
    ) -> Action {
        switch (self.phase, part) {
        case (.idle, .head(let head)):
            self.isKeptAlive = head.isKeepAlive
            self.readsChunks = head.readsChunks
            self.hasEnd = false
            return .begin(head)
        case (.reading, .body(let bytes)):
            self.bodyBytes += bytes.readableBytes
            return self.bodyBytes > configuration.maximumBodyBytes ? .reject(.bodyTooLarge) : .keep(bytes)
        case (.reading, .end):
            self.hasEnd = true
            return .respond
        case (.discarding, .end):
            return .endDiscarded
        case (.receiving, .body(let bytes)):
            self.deadline = now() + .seconds(Int64(configuration.bodyTimeoutSeconds))
            return .pass(bytes)
        case (.receiving, .end):
            self.phase = .responding
            self.deadline = .distantFuture
            return .endBody
        case (.admitting, .body) where !self.hasEnd, (.opening, .body) where !self.hasEnd,
            (.streaming, .body) where !self.hasEnd:
            // The body of a request for a stream means nothing.
            return .nothing
        case (.admitting, .end) where !self.hasEnd, (.opening, .end) where !self.hasEnd,
            (.streaming, .end) where !self.hasEnd:
            self.hasEnd = true
            return .nothing
        case (.streaming, _):
            self.receivedBehindStream()
            return .nothing
        case (.responding, _), (.flushing, _), (.admitting, _), (.opening, _), (.verifying, _):
            guard !self.dropsInput else { return .nothing }
            self.pipelined.append(part)
            self.pipelinedBytes += part.bytes
            return .queued
        case (.idle, _), (.reading, .head), (.receiving, .head), (.discarding, _), (.lingering, _), (.closed, _):
            // The rest of a body that means nothing, or of a rejected one.
            return .nothing
        }
    }

    /// Bytes were received behind the request for the stream that the connection carries. They are dropped, so the connection
    /// ends with the stream: a client sends again what was not answered (RFC 9112, 9.3.2).
    mutating func receivedBehindStream() { self.isKeptAlive = false }

    /// The input is not HTTP.
    mutating func inputBroken() -> Action {
        switch self.phase {
        case .verifying where self.pipelined.contains(.end):
            // The request itself is complete: answer it, then close the connection.
            self.isKeptAlive = false
            self.dropsInput = true
            return .nothing
        case .idle, .reading, .verifying: return .reject(.malformed)
        case .receiving: return .failBody(.malformed)
        case .responding:
            // The bytes that follow the request are not HTTP: finish the response, then close the connection.
            self.isKeptAlive = false
            self.dropsInput = true
            return .nothing
        case .flushing: return .linger(.whileReading)
        case .discarding: return .linger(.short)
        case .admitting, .opening, .streaming, .lingering, .closed: return .close
        }
    }

    /// The client has closed its sending side.
    mutating func inputEnded() -> Action {
        self.hasInputEnded = true
        switch self.phase {
        case .responding, .flushing, .admitting, .verifying: return .nothing
        case .idle, .reading, .discarding, .receiving, .opening, .streaming, .lingering, .closed: return .close
        }
    }

    // MARK: Waiting parts

    /// Takes the first part that waits, if the phase allows to process it.
    mutating func takePipelined() -> RequestPart? {
        switch self.phase {
        case .responding, .flushing, .admitting, .opening, .verifying: return nil
        case .streaming, .lingering, .closed:
            self.discardPipelined()
            return nil
        case .idle, .reading, .discarding, .receiving:
            guard let part = self.pipelined.popFirst() else { return nil }
            self.pipelinedBytes -= part.bytes
            return part
        }
    }

    /// Number of the parts that wait for the hub. Those that wait for a client to read a response are not counted: that may last
    /// long.
    var pendingParts: Int { self.phase == .flushing ? 0 : self.pipelined.count }

    /// The parts that wait on all connections exceed their limit: drops those of this connection. It is closed after the
    /// response in progress, and the client sends the requests again (RFC 9112, 9.3.2). Small amounts are kept, so that a
    /// connection that pipelines little is not hurt by those that do much.
    /// - Returns: `nil` if nothing was dropped.
    mutating func pipelinesFull(_ configuration: HTTPConfiguration) -> Action? {
        guard self.pipelinedBytes > configuration.maximumPipelinedBytes / 16 else { return nil }
        self.discardPipelined()
        self.dropsInput = true
        self.isKeptAlive = false
        switch self.phase {
        case .verifying: return .reject(.pipelinesFull)
        case .flushing: return .linger(.whileReading)
        default: return .nothing
        }
    }

    private mutating func discardPipelined() {
        self.pipelined = []
        self.pipelinedBytes = 0
    }

    // MARK: Reading

    /// Whether the socket may be read now. If not, ``takePausedRead()`` is `true` once.
    /// - Parameters:
    ///   - isBodyFull: whether the body that is processed while it arrives has reached its limit.
    ///   - hasRoom: whether the parts that wait on all connections are below their limit.
    mutating func mayRead(isBodyFull: Bool, hasRoom: Bool, _ configuration: HTTPConfiguration) -> Bool {
        self.isReadPaused =
            self.phase == .flushing || isBodyFull || self.isPipelineFull(hasRoom: hasRoom, configuration)
        return !self.isReadPaused
    }

    /// Whether so many parts wait that the socket is not read. Nothing more is read either while a token is verified: the client
    /// may be anybody.
    private func isPipelineFull(hasRoom: Bool, _ configuration: HTTPConfiguration) -> Bool {
        if self.phase == .verifying { return true }
        return self.pipelinedBytes > 0 && (self.pipelinedBytes >= configuration.maximumPipelinedBytes || !hasRoom)
    }

    /// Whether a read was postponed, which is forgotten.
    mutating func takePausedRead() -> Bool {
        defer { self.isReadPaused = false }
        return self.isReadPaused
    }

    // MARK: The request in progress

    /// The signature of the request's token is being verified.
    mutating func verifying() { self.enter(.verifying, until: .distantFuture) }

    /// The token was verified.
    /// - Returns: `false` if the request was rejected or the connection was closed meanwhile.
    mutating func verified() -> Bool {
        guard self.phase == .verifying else { return false }
        self.phase = .idle
        return true
    }

    /// The body of the request is read whole.
    mutating func readBody(at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.bodyBytes = 0
        self.enter(.reading, until: now + .seconds(Int64(configuration.bodyTimeoutSeconds)))
    }

    /// The body of the request is processed while it arrives.
    mutating func receiveBody(at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.enter(.receiving, until: now + .seconds(Int64(configuration.bodyTimeoutSeconds)))
    }

    /// The request was answered at its head; its body is discarded.
    mutating func discardBody(at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.enter(.discarding, until: now + .seconds(Int64(configuration.headTimeoutSeconds)))
    }

    /// The request was read whole, and is being answered.
    mutating func responding() { self.enter(.responding, until: .distantFuture) }

    /// The response begins.
    /// - Parameter isDraining: whether every connection ends with its response.
    /// - Returns: whether the connection ends with this response, so that the response must announce it.
    mutating func responseBegins(isDraining: Bool) -> Bool {
        if self.isQuiescing || isDraining { self.isKeptAlive = false }
        return !self.isKeptAlive
    }

    /// Discards the rest of the body that was processed while it arrived: the response is ready earlier, or the body is
    /// malformed or too slow.
    /// - Returns: `false` if no body is arriving.
    mutating func dropBody() -> Bool {
        guard self.phase == .receiving else { return false }
        self.enter(.responding, until: .distantFuture)
        self.isKeptAlive = false
        self.dropsInput = true
        return true
    }

    /// The task that writes the response waits for the client to read; the write timeout runs.
    mutating func writeWaits(queuedBytes: Int, at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.startWriteTimeout(queuedBytes, at: now, Self.writeTime(configuration))
    }

    /// The task that writes the response goes on.
    mutating func writeGoesOn() { self.deadline = .distantFuture }

    /// The whole response was written.
    mutating func responseWritten(
        isWritable: Bool, queuedBytes: @autoclosure () -> Int, at now: NIODeadline, _ configuration: HTTPConfiguration
    ) -> Action {
        guard self.phase == .responding || self.phase == .discarding else { return .nothing }
        if !self.isKeptAlive || self.isLast { return .linger(queuedBytes() == 0 ? .short : .whileReading) }
        if isWritable { return self.becomeIdle(at: now, configuration) }
        self.phase = .flushing
        self.startWriteTimeout(queuedBytes(), at: now, Self.writeTime(configuration))
        return .wait
    }

    /// The socket has become writable.
    mutating func becameWritable(at now: NIODeadline, _ configuration: HTTPConfiguration) -> Action {
        switch self.phase {
        case .flushing: return self.isLast ? .linger(.short) : self.becomeIdle(at: now, configuration)
        case .lingering:
            // The last bytes were passed to the socket. From now on the client gets the short timeout to close.
            self.deadline = min(self.deadline, now + Self.lingerTime)
            return .nothing
        default: return .nothing
        }
    }

    /// Whether no further request will be processed on this connection.
    private var isLast: Bool { self.isQuiescing || (self.hasInputEnded && self.pipelined.isEmpty) }

    private mutating func becomeIdle(at now: NIODeadline, _ configuration: HTTPConfiguration) -> Action {
        self.enter(.idle, until: now + .seconds(Int64(configuration.idleTimeoutSeconds)))
        return .next
    }

    // MARK: Streams

    /// A request for a stream is being decided.
    mutating func admitting() { self.enter(.admitting, until: .distantFuture) }

    /// The stream was admitted.
    mutating func opening() { self.phase = .opening }

    /// The response head of the stream is written: from now on the connection carries the stream.
    mutating func streaming() {
        // What waits behind the request is dropped.
        if !self.pipelined.isEmpty { self.receivedBehindStream() }
        self.discardPipelined()
        self.phase = .streaming
    }

    /// Whether the client finds the end of a stream by its last chunk, and uses the connection again.
    var carriesChunks: Bool { self.readsChunks && self.isKeptAlive }

    /// The stream is not sent: an ordinary response follows.
    /// - Returns: `false` if the connection was closed meanwhile.
    mutating func streamDeclined() -> Bool {
        guard self.phase == .admitting || self.phase == .opening else { return false }
        self.phase = .responding
        return true
    }

    /// The last bytes of the stream were written.
    /// - Parameter keeps: whether the client can tell the end of the stream from the end of the connection, and the hub has room
    ///   for the connection.
    mutating func streamEnded(
        keeps: Bool, isWritable: Bool, queuedBytes: Int, at now: NIODeadline, _ configuration: HTTPConfiguration
    ) -> Action {
        guard self.phase == .streaming else { return .nothing }
        self.phase = .responding
        if !keeps || !self.hasEnd { self.isKeptAlive = false }
        return self.responseWritten(isWritable: isWritable, queuedBytes: queuedBytes, at: now, configuration)
    }

    // MARK: The end

    /// Accepts no further request.
    /// - Parameter hasReceivedBytes: whether the next request has begun to arrive; it is answered then.
    mutating func quiesce(hasReceivedBytes: Bool, queuedBytes: Int) -> Action {
        self.isQuiescing = true
        guard self.phase == .idle, !hasReceivedBytes else { return .nothing }
        // The end of the last response may not have been passed to the socket yet.
        return queuedBytes > 0 ? .linger(.whileReading) : .close
    }

    /// The sending side is being closed.
    mutating func linger(_ time: Linger, queuedBytes: Int, at now: NIODeadline, _ configuration: HTTPConfiguration) {
        self.discardPipelined()
        self.phase = .lingering
        self.startWriteTimeout(queuedBytes, at: now, time == .short ? Self.lingerTime : Self.writeTime(configuration))
    }

    /// The request is answered with a rejection, after which the connection lingers.
    mutating func rejected() {
        self.discardPipelined()
        self.phase = .lingering
    }

    /// The connection was closed.
    mutating func closed() {
        self.discardPipelined()
        self.phase = .closed
    }

    // MARK: Time

    /// Called every second: ends what has exceeded the timeout of its phase.
    mutating func tick(
        at now: NIODeadline, _ progress: @autoclosure () -> Progress, _ configuration: HTTPConfiguration
    ) -> Action {
        guard now >= self.deadline else { return .nothing }
        let progress = progress()
        switch self.phase {
        case .idle: return progress.hasReceivedBytes ? .reject(.tooSlow) : .close
        case .reading: return .reject(.tooSlow)
        case .discarding: return .linger(.short)
        case .receiving:
            // While the buffer is full, the client waits for the hub and is not too slow: restart the timeout of the body.
            guard progress.isBodyFull else { return .failBody(.tooSlow) }
            self.deadline = now + .seconds(Int64(configuration.bodyTimeoutSeconds))
            return .nothing
        case .responding where !progress.isWriterWaiting: return .nothing
        case .responding, .flushing, .lingering:
            // A client that has read some bytes is slow: extend the deadline. A client that has read none is dead or hostile, or
            // has been sent everything.
            guard progress.queuedBytes < self.unsentBytes, self.phase != .lingering || progress.queuedBytes > 0 else {
                return .close
            }
            self.startWriteTimeout(progress.queuedBytes, at: now, Self.writeTime(configuration))
            return .nothing
        case .verifying, .admitting, .opening, .streaming, .closed: return .nothing
        }
    }

    /// Starts a timeout for the client to read some of the queued bytes.
    private mutating func startWriteTimeout(_ queuedBytes: Int, at now: NIODeadline, _ time: TimeAmount) {
        self.unsentBytes = queuedBytes
        self.deadline = now + time
    }

    private mutating func enter(_ phase: Phase, until deadline: NIODeadline) {
        self.phase = phase
        self.deadline = deadline
    }

    /// Time in which the client must read some bytes of a response.
    private static func writeTime(_ configuration: HTTPConfiguration) -> TimeAmount {
        .seconds(Int64(configuration.answerTimeoutSeconds))
    }
}
