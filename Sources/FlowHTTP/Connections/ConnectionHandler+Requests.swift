import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// A request whose body is read whole, and what was read of it.
final class BodyInProgress {
    let request: OrdinaryRequest
    var bytes = ByteBuffer()

    init(_ request: OrdinaryRequest) { self.request = request }
}

/// An import whose body is processed while it arrives.
final class UploadInProgress {
    let body: RequestBodyStream
    /// The client, whose access is checked again while the body arrives.
    let principal: Principal
    private var pace: UploadPace

    init(_ body: RequestBodyStream, from principal: Principal, at now: NIODeadline) {
        self.body = body
        self.principal = principal
        self.pace = UploadPace(now: now)
    }

    /// Passes a chunk to the task that reads the body.
    func received(_ bytes: ByteBuffer, _ record: RequestRecord?) {
        record?.received(bytes.readableBytes)
        self.pace.received(bytes.readableBytes)
        self.body.append(bytes)
    }

    /// Why the upload must end now; `nil`: it may go on. Called every second.
    func failure(at now: NIODeadline, _ access: AccessControl, _ configuration: HTTPConfiguration) -> (any Error)? {
        do throws(AccessError) { try access.check(self.principal) } catch { return error }
        return switch self.pace.check(now: now, isWaiting: self.body.isWaiting, configuration) {
        case .inTime: nil
        case .tooSlow: HTTPProblem.uploadTooSlow(configuration)
        case .tooLong: HTTPProblem.uploadTooLong(configuration)
        }
    }
}

extension ConnectionHandler {
    /// The client's IP address: that of the connection, or what a trusted proxy states.
    func clientAddress(of head: HTTPRequest) -> String {
        self.loop.application.access.proxies.client(peer: self.peer, fields: head.headerFields)
    }

    // MARK: Bodies

    /// The body of the request was read whole.
    func bodyRead() {
        guard case .reading(let reading) = self.exchange else { return }
        self.exchange = .none
        let head = reading.request.head.request
        let path = RequestPath(head.path ?? "").path
        if !self.isOperations, StreamRequest.isStreamWithBody(method: head.method, path: path) {
            self.openStream(reading)
            return
        }
        self.machine.responding()
        self.respond(to: reading.request, body: .init(buffer: reading.bytes))
    }

    /// Whether the request's body is processed as it arrives, instead of being collected first: true for the upload of an
    /// import. The connection does not limit the size of such a body.
    static func streamsRequestBody(method: HTTPRequest.Method, path: Substring) -> Bool {
        method == .post && path == "/v1/imports"
    }

    /// The upload that is arriving; `nil` if there is none.
    var upload: UploadInProgress? {
        if case .receiving(let upload) = self.exchange { upload } else { nil }
    }

    /// Starts to answer a request whose body is still arriving, and passes the body on through a ``RequestBodyStream``.
    func receive(_ head: RequestHead, from principal: Principal) {
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        let loop = self.loop.loop
        let isExpecting = head.expectsContinue
        let body = RequestBodyStream(
            capacity: self.loop.configuration.importBufferBytes, budget: self.loop.budgets.bodies, account: self.account,
            onFirstRead: { if isExpecting { loop.execute { boundSelf.value.sendContinue() } } },
            onDrain: { loop.execute { boundSelf.value.resumeReading() } })
        self.exchange = .receiving(UploadInProgress(body, from: principal, at: .now()))
        self.machine.receiveBody(at: .now(), self.loop.configuration)
        self.respond(to: OrdinaryRequest(head: head, access: .granted(principal)), body: .init(asyncSequence: body))
    }

    /// Sends `100 Continue` to a client that waits for it before it sends the body.
    private func sendContinue() {
        guard self.machine.phase == .receiving else { return }
        self.context?.writeAndFlush(self.wrapOutboundOut(ResponseEncoder.goOn), promise: nil)
    }

    /// Stops passing the request body to the task that answers the request, and discards the rest of the body. Called when
    /// the response is ready before the whole body has arrived, or when the body is malformed or too slow. Does nothing if
    /// no body is arriving.
    func dropBody() {
        guard self.machine.dropBody() else { return }
        self.exchange = .none
        self.resumeReading()
    }

    /// Ends the upload that is arriving with an error, which its route reports.
    func failUpload(_ error: any Error) {
        guard let upload = self.upload else { return }
        self.dropBody()
        upload.body.fail(error)
    }

    // MARK: Answering

    /// Answers a request in a task on the event loop.
    private func respond(to ordinary: OrdinaryRequest, body: RequestBody) {
        guard let channel = self.context?.channel else { return }
        IdleConnectionList.remove(self)
        let head = ordinary.head.request
        let request = Request(head: head, body: body)
        let access = ordinary.access
        let application = self.application
        let bodies = self.loop.budgets.bodies
        let (account, bodyBytes) = (self.account, self.heldBodyBytes)
        self.heldBodyBytes = 0
        let remote = self.clientAddress(of: head)
        let isSecure = self.isSecure(head)
        let (id, record) = (self.requestID, self.record)
        let boundSelf = NIOLoopBound(self, eventLoop: self.loop.loop)
        let start = NIODeadline.now()
        // One task per request. The connection's machine lets the next request start only after this response.
        Task(executorPreference: self.loop.executor) {
            let (response, route) = await application.respond(
                to: request, access: access, channel: channel, remote: remote, isSecure: isSecure, id: id, record: record)
            bodies.release(bodyBytes, of: account)
            let (status, isComplete) = await boundSelf.value.answer(response, to: ordinary, id: id, record: record)
            let loop = boundSelf.value.loop
            loop.requests.observe(route: route, status: status.code, duration: .now() - start)
            if let record {
                loop.accessLog?.answered(record, status, route: route, reason: isComplete ? nil : StreamEnding.disconnected.name)
            }
        }
    }
}
