import DequeModule
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTPTypes

extension ConnectionHandler {
    // MARK: Requests

    func begin(_ head: HTTPRequest) {
        self.guardian.awaitsHead = false
        let configuration = self.loop.configuration
        let target = head.path ?? ""
        if target.utf8.count > configuration.maximumURIBytes {
            self.refuse(.uriTooLong(configuration))
            return
        }
        guard target.utf8.first == UInt8(ascii: "/") else {
            self.refuse(.malformed)
            return
        }
        // As on the wire: name, colon, blank, value, line end.
        let headerBytes = head.headerFields.reduce(0) { $0 + $1.name.rawName.utf8.count + $1.value.utf8.count + 4 }
        guard headerBytes <= configuration.maximumHeaderBytes else {
            self.refuse(.headersTooLarge(configuration))
            return
        }
        let path = target.prefix { $0 != "?" }
        if StreamRequest.isStream(method: head.method, path: path) {
            self.openStream(head, path: path, query: target[path.endIndex...].dropFirst())
            return
        }
        if let length = head.headerFields[.contentLength].flatMap({ Int($0) }), length > configuration.maximumBodyBytes {
            self.refuse(.bodyTooLarge(configuration.maximumBodyBytes))
            return
        }
        if head.headerFields[.expect]?.lowercased() == "100-continue" {
            self.context?.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
        }
        self.deadline = .now() + .seconds(Int64(configuration.bodyTimeoutSeconds))
        self.state = .reading(head, ByteBuffer())
    }

    func respond(to head: HTTPRequest, body: ByteBuffer) {
        guard let channel = self.context?.channel else { return }
        let closes = Self.asksToClose(head) || self.isQuiescing
        self.state = .responding(keepAlive: !closes)
        self.deadline = .distantFuture
        let request = Request(head: head, body: .init(buffer: body))
        let application = self.loop.application
        let remote = self.remote
        let me = NIOLoopBound(self, eventLoop: self.loop.loop)
        let began = NIODeadline.now()
        // Each request is a task of its own, bounded by the connection's state: the next begins when this one is answered.
        Task(executorPreference: self.loop.executor) {
            let (response, route) = await application.respond(to: request, channel: channel, remote: remote)
            let writer = ConnectionResponseWriter(connection: me)
            await me.value.answer(response, to: head, with: writer)
            me.value.loop.requests.observe(route: route, status: response.status.code, took: .now() - began)
        }
    }

    /// Whether the connection ends with the answer: the client says so, or it wants another protocol, and behind such a request
    /// the decoder reads nothing.
    static func asksToClose(_ head: HTTPRequest) -> Bool {
        if head.headerFields[.upgrade] != nil { return true }
        guard let options = head.headerFields[.connection] else { return false }
        return options.lowercased().split(separator: ",").contains { $0.split(separator: " ").first == "close" }
    }

    private func answer(_ response: Response, to head: HTTPRequest, with writer: ConnectionResponseWriter) async {
        guard case .responding(let keepAlive) = self.state, let context = self.context else { return }
        var fields = response.head
        fields.headerFields[.date] = self.loop.httpDate
        if !keepAlive || self.isQuiescing { fields.headerFields[.connection] = "close" }
        context.write(self.wrapOutboundOut(.head(fields)), promise: nil)
        if head.method == .head || response.status == .noContent || response.status == .notModified {
            writer.end()
        } else {
            // A body that fails half-way leaves nothing but to close.
            do { try await response.body.write(writer) } catch { self.context?.close(promise: nil) }
        }
    }

    func writeBody(_ buffer: ByteBuffer) {
        self.context?.write(self.wrapOutboundOut(.body(buffer)), promise: nil)
    }

    /// The response is complete; on with the next request.
    func finishResponse() {
        guard case .responding(let keepAlive) = self.state, let context = self.context else { return }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        if case .closed = self.state { return }
        if !keepAlive || self.isLast {
            self.endPolitely(within: self.isWritable ? Self.politeTime : self.answerTime)
        } else if self.isWritable {
            self.becomeIdle()
            self.takePipelined()
        } else {
            self.state = .answered
            self.wait(self.answerTime)
            self.countBacklog()
        }
    }

    /// The peer has taken its answer, but for what the socket holds.
    func answerTaken() {
        if self.isLast {
            self.endPolitely()
        } else {
            self.becomeIdle()
            self.takePipelined()
        }
    }

    /// Whether no request will follow.
    private var isLast: Bool { self.isQuiescing || (self.peerHasFinished && self.pipelined.isEmpty) }

    func becomeIdle() {
        self.state = .idle
        self.guardian.awaitsHead = true
        self.deadline = .now() + .seconds(Int64(self.loop.configuration.idleTimeoutSeconds))
    }

    func takePipelined() {
        self.countBacklog()
        while !self.pipelined.isEmpty {
            switch self.state {
            case .responding, .answered, .admitting: return
            case .streaming, .refused, .closed:
                self.dropPipelined()
                return
            case .idle, .reading:
                let part = self.pipelined.removeFirst()
                self.countBacklog()
                self.take(part)
            }
        }
        self.resumeReading()
    }

    func dropPipelined() {
        self.pipelined = []
        self.countBacklog()
    }
}

/// Writes the body of a Hummingbird response to its connection.
private struct ConnectionResponseWriter: ResponseBodyWriter {
    let connection: NIOLoopBound<ConnectionHandler>

    func write(_ buffer: ByteBuffer) async throws { self.connection.value.writeBody(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws { self.connection.value.finishResponse() }
    func end() { self.connection.value.finishResponse() }
}
