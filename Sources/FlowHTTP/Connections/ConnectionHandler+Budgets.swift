import DequeModule
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

/// A part of a request that waits for the response to an earlier request.
struct PipelinedPart {
    let part: HTTPRequestPart
    /// The memory that the part takes, approximately.
    let bytes: Int

    /// What a part takes in addition to its text: a head is an array of fields, each with several objects.
    private static let overhead = 64
    private static let fieldOverhead = 160

    init(_ part: HTTPRequestPart) {
        self.part = part
        switch part {
        case .head(let head):
            let fields = head.headerFields.reduce(0) {
                $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + Self.fieldOverhead
            }
            // Method, scheme, authority and path are fields too.
            self.bytes = (head.path ?? "").utf8.count + fields + 4 * Self.fieldOverhead + Self.overhead
        case .body(let buffer): self.bytes = buffer.readableBytes + Self.overhead
        case .end: self.bytes = Self.overhead
        }
    }
}

extension ConnectionHandler {
    private var budgets: ConnectionBudgets { self.loop.budgets }

    // MARK: Request bodies

    /// Adds a chunk to the body of an ordinary request; or discards it, if no route takes a body. Rejects the request if the
    /// body is too large or a budget has no room for it.
    /// - Returns: whether the request goes on.
    func keepBody(_ bytes: ByteBuffer, of request: OrdinaryRequest, in body: inout ByteBuffer) -> Bool {
        let configuration = self.loop.configuration
        let size = (request.keepsBody ? body.readableBytes : self.discardedBodyBytes) + bytes.readableBytes
        guard size <= configuration.maximumBodyBytes else {
            self.rejectAndClose(.bodyTooLarge(configuration.maximumBodyBytes), cors: request.head.headerFields[.origin])
            return false
        }
        guard request.keepsBody else {
            self.discardedBodyBytes += bytes.readableBytes
            return true
        }
        if let excess = self.budgets.bodies.hold(bytes.readableBytes, of: self.account) {
            self.rejectAndClose(.bodiesFull(excess, configuration), cors: request.head.headerFields[.origin])
            return false
        }
        self.heldBodyBytes += bytes.readableBytes
        if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
        return true
    }

    /// Ends the accounting of the current request body, which is dropped.
    func releaseBody() {
        guard self.heldBodyBytes > 0 else { return }
        self.budgets.bodies.release(self.heldBodyBytes, of: self.account)
        self.heldBodyBytes = 0
    }

    // MARK: Pipelined requests

    /// Whether the body that is being received has reached its limit of buffered bytes.
    var isBodyFull: Bool {
        if case .receiving(_, let bodyStream) = self.state { bodyStream.isFull } else { false }
    }

    /// Whether a complete response waits for the client to read it.
    var isFlushing: Bool {
        if case .flushing = self.state { true } else { false }
    }

    /// Whether so many pipelined bytes wait that the socket is not read. Nothing more is read either while a token is verified:
    /// the client may be anybody.
    var isPipelineFull: Bool {
        if case .verifying = self.state { return true }
        guard self.pipelinedBytes > 0 else { return false }
        return self.pipelinedBytes >= self.loop.configuration.maximumPipelinedBytes || !self.budgets.hasRoomForPipelined
    }

    /// Queues a part until the response to the current request is complete. If the pipelined parts of all connections exceed
    /// their limit, drops those of this connection: the connection is closed after the response in progress, and the client
    /// sends the requests again (RFC 9112, 9.3.2).
    func appendPipelined(_ part: HTTPRequestPart) {
        let pending = PipelinedPart(part)
        self.pipelined.append(pending)
        self.pipelinedChanged(by: pending.bytes)
        // Small amounts are always accepted, so that a connection that pipelines little is not hurt by those that do much.
        guard !self.budgets.hasRoomForPipelined, self.pipelinedBytes > self.loop.configuration.maximumPipelinedBytes / 16 else {
            self.countPendingParts()
            return
        }
        self.budgets.countDroppedPipeline()
        self.discardPipelined()
        self.dropsBody = true
        switch self.state {
        case .responding: self.state = .responding(keepAlive: false)
        case .admitting: self.closesAfterRejection = true
        case .verifying: self.rejectAndClose(.pipelinesFull(self.loop.configuration))
        case .flushing: self.lingeringClose(timeout: self.writeTimeout)
        case .idle, .reading, .discarding, .receiving, .streaming, .lingeringClose, .closed: break
        }
    }

    /// Takes the first pipelined part.
    func takePipelined() -> HTTPRequestPart {
        let pending = self.pipelined.removeFirst()
        self.pipelinedChanged(by: -pending.bytes)
        self.countPendingParts()
        return pending.part
    }

    /// Drops the request parts that arrived while a request was being answered.
    func discardPipelined() {
        guard !self.pipelined.isEmpty else { return }
        self.pipelined = []
        self.pipelinedChanged(by: -self.pipelinedBytes)
        self.countPendingParts()
    }

    private func pipelinedChanged(by bytes: Int) {
        self.pipelinedBytes += bytes
        self.budgets.pipelinedChanged(by: bytes)
    }

    /// Updates the shard's count of pending request parts, for which a pass (delivery of live events) is postponed.
    /// Parts that wait for a client to read a response are not counted: that may last long, and the pass must not wait for it.
    func countPendingParts() {
        let count = self.isFlushing ? 0 : self.pipelined.count
        self.loop.shard.pendingRequestParts += count - self.countedPendingParts
        self.countedPendingParts = count
    }

    // MARK: Responses

    /// Size up to which a chunk of a response is not held in the budget before it is written. If the client does not read it, it
    /// is counted within a second.
    private static let smallResponseBytes = 16_384

    /// Holds the first chunk of a response in the budget of responses, unless it is small.
    /// - Throws: ``HTTPProblem`` if there is no room, because earlier responses were not read. Never for a request that may have
    ///   changed something: the client would take the change as rejected and repeat it.
    func holdResponse(_ bytes: Int) throws(HTTPProblem) {
        guard bytes > Self.smallResponseBytes else { return }
        if !self.isAnsweringRead {
            self.budgets.responses.change(by: bytes, of: self.account)
        } else if let excess = self.budgets.responses.hold(bytes, of: self.account) {
            throw .responsesFull(excess, self.loop.configuration)
        }
        self.countedResponseBytes += bytes
    }

    /// Corrects the counted bytes of responses to those that NIO has not passed to the socket.
    func measureResponses() {
        // A connection that carries an event stream, or whose stream has ended: the streams have a budget of their own.
        if self.hasRemovedHTTPHandlers { return self.countResponseBytes(0) }
        self.countResponseBytes(self.queuedBytes)
    }

    /// Sets the counted bytes of responses.
    func countResponseBytes(_ bytes: Int) {
        self.budgets.responses.change(by: bytes - self.countedResponseBytes, of: self.account)
        self.countedResponseBytes = bytes
    }

    /// Closes the connection if its unread responses are part of more than a budget allows. Called every second, with the
    /// connections that have the most unread bytes first.
    func shedUnreadResponse() {
        guard self.countedResponseBytes > 0, let excess = self.budgets.responses.excess(adding: 0, of: self.account) else {
            return
        }
        self.budgets.responses.countExcess(excess)
        self.closeNow()
    }

    /// Sets the account under which the bytes of the next request are counted.
    func useAccount(_ account: String) {
        guard account != self.account else { return }
        // Behind a proxy, the requests of a connection may belong to several accounts.
        let unread = self.countedResponseBytes
        self.countResponseBytes(0)
        self.account = account
        self.countResponseBytes(unread)
    }
}
