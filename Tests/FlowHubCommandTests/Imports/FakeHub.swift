import FlowTestKit
import NIOCore
import NIOHTTP1
import NIOPosix

/// An HTTP server whose responses and connection failures a test defines.
final class FakeHub: Sendable {
    /// A request, as far as it was received.
    struct Request: Sendable {
        var method = ""
        var target = ""
        var headers = HTTPHeaders()
        var body: [UInt8] = []
        var bodyBytes = 0
        var isComplete = false

        func header(_ name: String) -> String? { self.headers.first(name: name) }
    }

    struct Answer: Sendable {
        var status = 200
        var headers: [(String, String)] = [("Content-Type", "application/json")]
        var body: [UInt8] = []

        init(_ status: Int, _ body: String = "", headers: [(String, String)] = [("Content-Type", "application/json")]) {
            self.init(status, bytes: Array(body.utf8), headers: headers)
        }

        init(_ status: Int, bytes: [UInt8], headers: [(String, String)] = [("Content-Type", "application/json")]) {
            self.status = status
            self.headers = headers
            self.body = bytes
        }
    }

    /// What the server does with a request.
    enum Behavior: Sendable {
        case answer(Answer)
        /// Responds after this many bytes of the request body.
        case answerEarly(Answer, after: Int)
        /// Closes the connection after this many bytes of the request body.
        case close(after: Int)
        /// Sends only this many bytes of the response body; then closes the connection, or sends nothing more.
        case part(Answer, bytes: Int, closes: Bool)
        /// Stops reading after this many bytes of the request body, and does not respond, until ``release()``.
        case stall(Answer, after: Int)
    }

    let port: Int
    private let channel: any Channel
    private let state: AsyncValue<State>

    fileprivate struct State: Sendable {
        var requests: [Request] = []
        var isReleased = false
        var stalled: [any Channel] = []
    }

    private init(channel: any Channel, state: AsyncValue<State>) {
        self.channel = channel
        self.port = channel.localAddress?.port ?? 0
        self.state = state
    }

    /// Runs the body with a server, and stops the server afterwards.
    /// - Parameter behavior: called once for each request, after its head, with the request's number from 0.
    static func running<Result>(
        _ behavior: @escaping @Sendable (Int, Request) -> Behavior, _ body: (FakeHub) async throws -> Result
    ) async throws -> Result {
        let state = AsyncValue(State())
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(FakeHubHandler(state: state, behavior: behavior))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let hub = FakeHub(channel: channel, state: state)
        do {
            let result = try await body(hub)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    var url: String { "http://127.0.0.1:\(self.port)" }
    var requests: [Request] { self.state.read { $0.requests } }

    /// Resumes stalled connections, and ends stalling for later requests.
    func release() {
        let stalled = self.state.change { state in
            state.isReleased = true
            defer { state.stalled = [] }
            return state.stalled
        }
        for channel in stalled { channel.setOption(.autoRead, value: true).whenComplete { _ in channel.read() } }
    }

    func wait(for what: String, _ condition: @escaping @Sendable ([Request]) -> Bool) async throws {
        _ = try await self.state.wait(for: what, within: .seconds(30)) { condition($0.requests) ? true : nil }
    }
}

private final class FakeHubHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// Maximum number of body bytes that are stored for a request; further ones are only counted.
    private static let keptBytes = 4 * 1_048_576

    private let state: AsyncValue<FakeHub.State>
    private let behavior: @Sendable (Int, FakeHub.Request) -> FakeHub.Behavior
    private var number = 0
    private var current = FakeHub.Behavior.close(after: 0)
    private var bodyBytes = 0
    private var isAnswered = false

    init(state: AsyncValue<FakeHub.State>, behavior: @escaping @Sendable (Int, FakeHub.Request) -> FakeHub.Behavior) {
        self.state = state
        self.behavior = behavior
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            let request = FakeHub.Request(method: head.method.rawValue, target: head.uri, headers: head.headers)
            self.number = self.state.change { state in
                state.requests.append(request)
                return state.requests.count - 1
            }
            self.bodyBytes = 0
            self.isAnswered = false
            self.current = self.behavior(self.number, request)
            self.applyBehavior(context)
        case .body(let buffer):
            self.bodyBytes += buffer.readableBytes
            let number = self.number
            self.state.change { state in
                state.requests[number].bodyBytes += buffer.readableBytes
                if state.requests[number].body.count + buffer.readableBytes <= Self.keptBytes {
                    state.requests[number].body += Array(buffer.readableBytesView)
                }
            }
            self.applyBehavior(context)
        case .end:
            let number = self.number
            self.state.change { $0.requests[number].isComplete = true }
            self.ended(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func applyBehavior(_ context: ChannelHandlerContext) {
        switch self.current {
        case .answerEarly(let answer, let after) where self.bodyBytes >= after && !self.isAnswered:
            self.send(answer, context)
        case .close(let after) where self.bodyBytes >= after && after > 0:
            context.close(promise: nil)
        case .stall(_, let after) where self.bodyBytes >= after:
            let channel = context.channel
            let isStalled = self.state.change { state in
                if !state.isReleased { state.stalled.append(channel) }
                return !state.isReleased
            }
            if isStalled { context.channel.setOption(.autoRead, value: false).whenComplete { _ in } }
        case .answer, .answerEarly, .close, .part, .stall: break
        }
    }

    private func ended(_ context: ChannelHandlerContext) {
        switch self.current {
        case .answer(let answer), .stall(let answer, _): self.send(answer, context)
        case .answerEarly(let answer, _): if !self.isAnswered { self.send(answer, context) }
        case .close: context.close(promise: nil)
        case .part(let answer, let bytes, let closes):
            self.writeHead(answer, context)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body.prefix(bytes))))), promise: nil)
            context.flush()
            if closes { context.close(promise: nil) }
        }
    }

    private func send(_ answer: FakeHub.Answer, _ context: ChannelHandlerContext) {
        self.isAnswered = true
        self.writeHead(answer, context)
        if !answer.body.isEmpty {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body)))), promise: nil)
        }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func writeHead(_ answer: FakeHub.Answer, _ context: ChannelHandlerContext) {
        var headers = HTTPHeaders(answer.headers)
        headers.add(name: "Content-Length", value: String(answer.body.count))
        let head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
    }
}
