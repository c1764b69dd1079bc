import NIOCore

extension RequestMachine {
    enum Phase: Equatable {
        /// Waiting for the next request head.
        case idle
        /// The token of a request is being verified.
        case verifying
        /// The body of a request is being read whole.
        case reading
        /// The request was rejected and answered at its head; its small body is discarded.
        case discarding
        /// The request is being answered while its body arrives.
        case receiving
        /// The request is being answered. What is still missing of its body is discarded.
        case responding
        /// The response was written and waits for the client to read it. No further request is processed until then: otherwise
        /// responses to a client that does not read would accumulate without bound.
        case flushing
        /// A request for a stream is being decided.
        case admitting
        /// The stream was admitted, and nothing of it was sent.
        case opening
        /// The connection carries an event stream.
        case streaming
        /// The sending side is closed; input is discarded until the client closes its side.
        case lingering
        /// The connection is closed.
        case closed
    }

    /// What the caller must do.
    enum Action: Equatable {
        case nothing
        /// Decide about a request from its head.
        case begin(RequestHead)
        /// Keep a chunk of a body that is read whole.
        case keep(ByteBuffer)
        /// Answer the request, which was read whole.
        case respond
        /// Pass a chunk of a body on that is processed while it arrives.
        case pass(ByteBuffer)
        /// End the body that is processed while it arrives.
        case endBody
        /// End the body that is processed while it arrives with this failure, and discard its rest.
        case failBody(Failure)
        /// The body of a rejected request was discarded: the request is over.
        case endDiscarded
        /// A part waits behind the request in progress: check the budget of such parts.
        case queued
        /// Wait for the next request, or process the parts that wait: see ``RequestMachine/takePipelined()``.
        case next
        /// Wait until the client has read the response.
        case wait
        /// Reject the request that has not been read whole, and close the connection after the answer.
        case reject(Failure)
        /// Close the sending side, and linger for this time.
        case linger(Linger)
        /// Close the connection.
        case close
    }

    /// Why a request is not read whole.
    enum Failure: Equatable {
        /// It is not HTTP/1.1.
        case malformed
        /// It did not arrive in time.
        case tooSlow
        /// Its body is too large.
        case bodyTooLarge
        /// Too many requests wait on all connections together.
        case pipelinesFull
    }

    /// How long a connection lingers.
    enum Linger: Equatable {
        /// The client has been sent everything.
        case short
        /// The client still has to read the response.
        case whileReading
    }

    /// What a tick must know of the connection.
    struct Progress {
        /// Bytes that wait for the client to read them.
        var queuedBytes: Int
        /// Whether the next request has begun to arrive.
        var hasReceivedBytes: Bool
        /// Whether the task that writes the response waits for the client.
        var isWriterWaiting: Bool
        /// Whether the body that is processed while it arrives has reached its limit.
        var isBodyFull: Bool
    }
}
