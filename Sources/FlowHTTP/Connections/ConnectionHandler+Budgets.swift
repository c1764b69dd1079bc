import FlowCore
import NIOCore

extension ConnectionHandler {
    private var budgets: ConnectionBudgets { self.loop.budgets }

    // MARK: Request bodies

    /// Adds a chunk to the body of an ordinary request; or discards it, if no route takes a body. Rejects the request if the
    /// budget has no room for it.
    func keepBody(_ bytes: ByteBuffer) {
        self.record?.received(bytes.readableBytes)
        guard case .reading(let reading) = self.exchange, reading.request.keepsBody else { return }
        if let excess = self.budgets.bodies.hold(bytes.readableBytes, of: self.account) {
            self.rejectAndClose(.bodiesFull(excess, self.loop.configuration))
            return
        }
        self.heldBodyBytes += bytes.readableBytes
        if reading.bytes.readableBytes == 0 { reading.bytes = bytes } else { reading.bytes.writeImmutableBuffer(bytes) }
    }

    /// Ends the accounting of the current request body, which is dropped.
    func releaseBody() {
        guard self.heldBodyBytes > 0 else { return }
        self.budgets.bodies.release(self.heldBodyBytes, of: self.account)
        self.heldBodyBytes = 0
    }

    // MARK: Pipelined requests

    /// Drops the parts that wait behind the request in progress if those of all connections exceed their limit.
    func checkPipelines() {
        self.countPipelined()
        guard !self.budgets.hasRoomForPipelined, let action = self.machine.pipelinesFull(self.loop.configuration) else { return }
        self.budgets.countDroppedPipeline()
        self.perform(action)
    }

    // MARK: Responses

    /// Size up to which a chunk of a response is not held in the budget before it is written. If the client does not read it, it
    /// is counted within a second.
    private static let smallResponseBytes = 16_384

    /// Bytes that were written and that NIO has not passed to the socket.
    var queuedBytes: Int {
        guard let options = self.context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(.bufferedWritableBytes)) ?? 0
    }

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

    /// Corrects the counted bytes of responses to those that NIO has not passed to the socket. Those of a stream that has ended
    /// are among them; an open stream has a budget of its own.
    func measureResponses() { self.countResponseBytes(self.queuedBytes) }

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
