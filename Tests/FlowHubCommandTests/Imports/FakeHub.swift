import FlowTestKit
import NIOCore
import NIOHTTP1
import NIOPosix

/// A server that answers as a test says, and breaks off as a test says.
final class FakeHub: Sendable {
    /// A request as far as it came.
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

    /// What becomes of a request.
    enum Behaviour: Sendable {
        case answer(Answer)
        /// The answer comes when so many bytes of the body have.
        case answerEarly(Answer, after: Int)
        /// The connection is cut when so many bytes of the body have come.
        case cut(after: Int)
        /// Only so many bytes of the answer's body are sent; then the connection is cut, or nothing more comes.
        case part(Answer, bytes: Int, isCut: Bool)
        /// Nothing more is read after so many bytes, and nothing answered, until ``release()``.
        case hold(Answer, after: Int)
    }

    let port: Int
    private let channel: any Channel
    private let state: AsyncValue<State>

    fileprivate struct State: Sendable {
        var requests: [Request] = []
        var isReleased = false
        var held: [any Channel] = []
    }

    private init(channel: any Channel, state: AsyncValue<State>) {
        self.channel = channel
        self.port = channel.localAddress?.port ?? 0
        self.state = state
    }

    /// - Parameter behaviour: asked once for each request, when its head has come: the request's number, from 0.
    static func running<Result>(
        _ behaviour: @escaping @Sendable (Int, Request) -> Behaviour, _ body: (FakeHub) async throws -> Result
    ) async throws -> Result {
        let state = AsyncValue(State())
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(FakeHubHandler(state: state, behaviour: behaviour))
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

    /// Lets what is held go on.
    func release() {
        let held = self.state.change { state in
            state.isReleased = true
            defer { state.held = [] }
            return state.held
        }
        for channel in held { channel.setOption(.autoRead, value: true).whenComplete { _ in channel.read() } }
    }

    func wait(for what: String, _ condition: @escaping @Sendable ([Request]) -> Bool) async throws {
        _ = try await self.state.wait(for: what, within: .seconds(30)) { condition($0.requests) ? true : nil }
    }
}

private final class FakeHubHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// Bodies above this are counted and not kept.
    private static let keptBytes = 4 * 1_048_576

    private let state: AsyncValue<FakeHub.State>
    private let behaviour: @Sendable (Int, FakeHub.Request) -> FakeHub.Behaviour
    private var number = 0
    private var current = FakeHub.Behaviour.cut(after: 0)
    private var bodyBytes = 0
    private var isAnswered = false

    init(state: AsyncValue<FakeHub.State>, behaviour: @escaping @Sendable (Int, FakeHub.Request) -> FakeHub.Behaviour) {
        self.state = state
        self.behaviour = behaviour
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
            self.current = self.behaviour(self.number, request)
            self.look(context)
        case .body(let buffer):
            self.bodyBytes += buffer.readableBytes
            let number = self.number
            self.state.change { state in
                state.requests[number].bodyBytes += buffer.readableBytes
                if state.requests[number].body.count + buffer.readableBytes <= Self.keptBytes {
                    state.requests[number].body += Array(buffer.readableBytesView)
                }
            }
            self.look(context)
        case .end:
            let number = self.number
            self.state.change { $0.requests[number].isComplete = true }
            self.ended(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func look(_ context: ChannelHandlerContext) {
        switch self.current {
        case .answerEarly(let answer, let after) where self.bodyBytes >= after && !self.isAnswered:
            self.send(answer, context)
        case .cut(let after) where self.bodyBytes >= after && after > 0:
            context.close(promise: nil)
        case .hold(_, let after) where self.bodyBytes >= after:
            let channel = context.channel
            let isHeld = self.state.change { state in
                if !state.isReleased { state.held.append(channel) }
                return !state.isReleased
            }
            if isHeld { context.channel.setOption(.autoRead, value: false).whenComplete { _ in } }
        case .answer, .answerEarly, .cut, .part, .hold: break
        }
    }

    private func ended(_ context: ChannelHandlerContext) {
        switch self.current {
        case .answer(let answer), .hold(let answer, _): self.send(answer, context)
        case .answerEarly(let answer, _): if !self.isAnswered { self.send(answer, context) }
        case .cut: context.close(promise: nil)
        case .part(let answer, let bytes, let isCut):
            self.writeHead(answer, context)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body.prefix(bytes))))), promise: nil)
            context.flush()
            if isCut { context.close(promise: nil) }
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
