import NIOCore
import NIOHTTP1
import NIOPosix

/// A proxy in front of an ``S3Server`` that enforces R2's rules, injects faults, and records every request.
///
/// R2's rules:
/// - Rejected are streaming signatures (501), a body without a length (411), a signed `Accept-Encoding` (403), parts of
///   unequal size (400 at CompleteMultipartUpload), and a second write to a key within 1 s (429, if the test enables it).
/// - `100 Continue` is never sent.
/// - An object stored with `Content-Encoding: gzip` is decompressed for a client that does not accept gzip. The response to a
///   HEAD that accepts gzip has no length.
/// - Of concurrent conditional writes to a key exactly one succeeds. A multipart upload is deleted if its condition fails.
/// - Lifecycle rules are stored.
///
/// `If-Match` on writes is not implemented.
public final class R2Proxy: Sendable {
    public let port: Int
    private let state: R2ProxyState

    private init(_ server: S3Server) throws {
        self.port = try FreePort.choose()
        self.state = R2ProxyState(serverPort: server.port)
    }

    /// Runs a proxy for the duration of the body, then closes it with all its connections.
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

    /// Adds rules. The first rule that applies to a request decides.
    public func inject(_ rules: R2Rule...) { self.state.change { $0.rules += rules } }

    public func inject(_ fault: R2Fault, on operation: ProxyOperation? = nil, skipping: Int = 0, times: Int = 1) {
        self.inject(R2Rule(fault, on: operation, skipping: skipping, times: times))
    }

    /// Number of requests that the rules can still affect.
    public var faultsRemaining: Int { self.state.read { $0.rules.reduce(0) { $0 + $1.times } } }

    public func clearFaults() { self.state.change { $0.rules = [] } }

    /// Continues all requests that wait because of an ``R2Fault/stall(isApplied:)``.
    public func release() { self.state.release() }

    /// Sets whether a second write to a key within 1 s is answered with 429.
    public func limitWrites(_ isOn: Bool) { self.state.change { $0.limitsWrites = isOn } }

    // MARK: Recorded requests

    public var requests: [ProxyRequest] { self.state.read { $0.requests } }

    public func requests(_ operation: ProxyOperation) -> [ProxyRequest] { self.requests.filter { $0.operation == operation } }

    /// Clears the recorded requests. Their numbers restart at 1.
    public func forget() { self.state.change { $0.forget() } }

    /// Waits until the recorded requests satisfy the condition.
    public func wait(
        for what: String, within timeout: Duration = .seconds(20), _ condition: @escaping @Sendable ([ProxyRequest]) -> Bool
    ) async throws {
        try await self.state.wait(for: what, within: timeout) { condition($0.requests) }
    }

    // MARK: Lifecycle

    private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, ByteBuffer>

    private func listen() async throws -> NIOAsyncChannel<Connection, Never> {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .bind(host: "127.0.0.1", port: self.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Responses are written as bytes, so that a fault can write what an encoder would not.
                    try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
    }

    private func serve(_ listener: NIOAsyncChannel<Connection, Never>) async {
        await withDiscardingTaskGroup { group in
            // The loop ends by cancellation.
            try? await listener.executeThenClose { connections in
                for try await connection in connections {
                    group.addTask { await R2Connection.serve(connection, self.state) }
                }
            }
            group.cancelAll()
        }
    }
}
