public import FlowCore
import NIOCore

/// An HTTP/1.1 request.
public struct HTTPCall: Sendable {
    public var method: String
    public var target: String
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]?

    public init(_ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
    }

    public init(_ method: String, _ target: String, headers: [(name: String, value: String)] = [], json: JSONText) {
        self.init(method, target, headers: headers + [("Content-Type", "application/json")], body: json.bytes)
    }

    var bytes: [UInt8] {
        var head = "\(self.method) \(self.target) HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        for (name, value) in self.headers { head += "\(name): \(value)\r\n" }
        if let body = self.body { head += "Content-Length: \(body.count)\r\n" }
        return Array((head + "\r\n").utf8) + (self.body ?? [])
    }
}

/// The request was sent, at least in part, and has no response. It is unknown whether it was applied.
public struct AnswerLost: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) { self.description = description }
}

/// Sends requests to one port over keep-alive connections. Any number of tasks may share it.
public final class HTTPCaller: Sendable {
    private let port: Int
    private let idle = AsyncValue<[HTTPConnection]>([])

    public init(port: Int) { self.port = port }

    deinit { for connection in self.idle.value { connection.close() } }

    /// - Throws: ``AnswerLost``, ``TimedOut``, or the error of the connection attempt.
    public func perform(_ call: HTTPCall, within timeout: Duration = .seconds(30)) async throws -> HTTPReply {
        var kept: HTTPConnection?
        self.idle.change { idle in
            idle.removeAll { $0.isClosed }
            kept = idle.popLast()
        }
        let connection: HTTPConnection
        if let kept { connection = kept } else { connection = try await HTTPConnection.open(port: self.port) }
        do {
            let reply = try await connection.perform(call, within: timeout)
            if reply.header("connection")?.lowercased() == "close" {
                connection.close()
            } else {
                self.idle.change { $0.append(connection) }
            }
            return reply
        } catch {
            connection.close()
            throw error
        }
    }
}

/// A connection that carries one request at a time.
final class HTTPConnection: Sendable {
    private struct State: Sendable {
        var parser = HTTPReplyParser()
        var failure: (any Error)?
        var isClosed = false
    }

    private let state: AsyncValue<State>
    private let wire: WireConnection

    private init(_ wire: WireConnection, _ state: AsyncValue<State>) {
        self.wire = wire
        self.state = state
    }

    static func open(port: Int) async throws -> HTTPConnection {
        let state = AsyncValue(State())
        let wire = try await WireConnection.open(port: port) { bytes in
            state.change { state in
                do { try state.parser.feed(bytes.readableBytesView) } catch { state.failure = error }
            }
        } closed: { error in
            state.change { state in
                state.isClosed = true
                do { try state.parser.end() } catch let problem { state.failure = state.failure ?? error ?? problem }
            }
        }
        return HTTPConnection(wire, state)
    }

    var isClosed: Bool { self.state.read { $0.isClosed } }

    func close() { self.wire.close() }

    func perform(_ call: HTTPCall, within timeout: Duration) async throws -> HTTPReply {
        self.state.change { $0.parser = HTTPReplyParser(isAnswerToHead: call.method == "HEAD") }
        do { try await self.wire.write(call.bytes) } catch {
            // The response may have arrived already: a server may reject a request before it has read all of it.
            guard self.state.read({ $0.parser.isComplete }) else { throw AnswerLost(description: "writing failed: \(error)") }
        }
        let result: Result<HTTPReply, AnswerLost> = try await self.state.wait(
            for: "the response to \(call.method) \(call.target)", within: timeout
        ) { state in
            if state.parser.isComplete, let reply = state.parser.reply { return .success(reply) }
            if let failure = state.failure { return .failure(AnswerLost(description: "\(failure)")) }
            return state.isClosed ? .failure(AnswerLost(description: "the connection was closed")) : nil
        }
        return try result.get()
    }
}
