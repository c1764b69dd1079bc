import NIOCore
import NIOHTTP1
import NIOPosix

/// One keep-alive connection that sends requests, pipelined if several are in flight, and reports the status of each response
/// in order.
///
/// Confined to its event loop.
final class BenchRequester: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    /// Called for each response with its status and, from 300 on, the start of its body.
    var onAnswer: ((_ status: Int, _ body: [UInt8]) -> Void)?
    /// Called once when the connection is closed.
    var onClose: (() -> Void)?

    private let headers: HTTPHeaders
    private let path: String
    private var context: ChannelHandlerContext?
    private var status = 0
    private var body: [UInt8] = []

    init(target: BenchTarget, contentType: String) {
        var headers = HTTPHeaders([
            ("Host", target.hub.authority), ("User-Agent", "flowhub-bench"), ("Content-Type", contentType),
        ])
        if let authorization = target.authorization { headers.add(name: "Authorization", value: authorization) }
        self.headers = headers
        self.path = target.hub.path
    }

    /// Connects to the hub.
    /// - Returns: a future, which completes with the requester when the connection is established.
    static func connect(
        _ target: BenchTarget, contentType: String, on loop: any EventLoop
    ) -> EventLoopFuture<NIOLoopBound<BenchRequester>> {
        let requester = NIOLoopBound(BenchRequester(target: target, contentType: contentType), eventLoop: loop)
        return ClientBootstrap(group: loop)
            .connectTimeout(.seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(requester.value)
                }
            }
            .connect(host: target.host, port: target.hub.port)
            .map { _ in requester }
    }

    /// Sends a request without waiting for earlier responses. Does nothing after the connection was closed.
    func send(_ method: HTTPMethod, _ target: String, _ body: ByteBuffer) {
        guard let context = self.context else { return }
        var headers = self.headers
        headers.add(name: "Content-Length", value: String(body.readableBytes))
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: self.path + target, headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Keeps the context, with which requests are sent.
    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Drops the context: no further requests are sent.
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    /// Collects the status and, from 300 on, the body of a response, and reports the response when it is complete.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.status = Int(head.status.code)
            self.body.removeAll(keepingCapacity: true)
        case .body(let chunk):
            // Only error bodies are used, and they are short.
            if self.status >= 300, self.body.count < 4096 { self.body.append(contentsOf: chunk.readableBytesView) }
        case .end:
            self.onAnswer?(self.status, self.body)
        }
    }

    /// Reports that the connection was closed, and drops the callbacks.
    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        self.onClose?()
        self.onClose = nil
        self.onAnswer = nil
    }

    /// Closes the connection; ``channelInactive(context:)`` reports that.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
