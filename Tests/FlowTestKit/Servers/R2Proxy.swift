import NIOCore
import NIOHTTP1
import NIOPosix

/// What makes an ``S3Server`` behave as R2 does: a proxy that passes requests on as they came, with R2's own rules on top, and
/// with faults by script. It sees every request, and tells what it saw.
///
/// R2's rules: no streaming signatures (501), no body without a length (411), no signed `Accept-Encoding` (403), equal parts
/// (400 at Complete), one write a second to a key (429, switched on by the test), never `100 Continue`, objects stored with
/// `Content-Encoding: gzip` unpacked for whoever does not ask for gzip, no length for a HEAD that does, a conditional write of
/// which one wins, a multipart upload that is gone when its condition fails, lifecycle rules. Not here: `If-Match` on writes.
public final class R2Proxy: Sendable {
    public let port: Int
    private let state: R2ProxyState

    private init(_ server: S3Server) throws {
        self.port = try FreePort.choose()
        self.state = R2ProxyState(serverPort: server.port)
    }

    /// Runs a proxy for the time of the body; afterwards it is gone, with its connections.
    public static func running<Result: Sendable>(
        before server: S3Server, _ body: (R2Proxy) async throws -> Result
    ) async throws -> Result {
        let proxy = try R2Proxy(server)
        let listener = try await proxy.listen()
        let serving = Task { await proxy.serve(listener) }
        do {
            let result = try await body(proxy)
            serving.cancel()
            await serving.value
            return result
        } catch {
            serving.cancel()
            await serving.value
            throw error
        }
    }

    public var endpoint: String { "http://127.0.0.1:\(self.port)" }

    // MARK: Faults

    /// Adds rules. The first one that hits a request decides.
    public func inject(_ rules: R2Rule...) { self.state.change { $0.rules += rules } }

    public func inject(_ fault: R2Fault, on operation: ProxyOperation? = nil, skipping: Int = 0, times: Int = 1) {
        self.inject(R2Rule(fault, on: operation, skipping: skipping, times: times))
    }

    /// Faults that have not happened, counted in requests.
    public var faultsRemaining: Int { self.state.read { $0.rules.reduce(0) { $0 + $1.times } } }

    public func clearFaults() { self.state.change { $0.rules = [] } }

    /// Lets go on what a ``R2Fault/stall(isApplied:)`` holds, whatever its client has done meanwhile.
    public func release() { self.state.release() }

    /// Whether more than one write a second to one key is 429.
    public func limitWrites(_ isOn: Bool) { self.state.change { $0.limitsWrites = isOn } }

    // MARK: What it saw

    public var requests: [ProxyRequest] { self.state.read { $0.requests } }

    public func requests(_ operation: ProxyOperation) -> [ProxyRequest] { self.requests.filter { $0.operation == operation } }

    /// Forgets what it saw; numbers start again.
    public func forget() { self.state.change { $0.forget() } }

    /// Waits until what it saw is so.
    public func wait(
        for what: String, within timeout: Duration = .seconds(20), _ condition: @escaping @Sendable ([ProxyRequest]) -> Bool
    ) async throws {
        try await self.state.wait(for: what, within: timeout) { condition($0.requests) }
    }

    // MARK: Life

    private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, ByteBuffer>

    private func listen() async throws -> NIOAsyncChannel<Connection, Never> {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .bind(host: "127.0.0.1", port: self.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    // The reply is written as bytes, so that a fault may write what no encoder would.
                    try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
    }

    private func serve(_ listener: NIOAsyncChannel<Connection, Never>) async {
        await withDiscardingTaskGroup { group in
            // Ends by cancellation.
            try? await listener.executeThenClose { connections in
                for try await connection in connections {
                    group.addTask { await R2Connection.serve(connection, self.state) }
                }
            }
            group.cancelAll()
        }
    }
}
