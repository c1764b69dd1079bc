import FlowTestKit
import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// A TCP server on the loopback interface that sends exactly the bytes a test specifies. Each connection has a thread.
final class RawServer: Sendable {
    /// The server's end of one connection. Confined to its thread; every call blocks.
    final class Peer {
        private let socket: Int32
        private var unread: [UInt8] = []
        /// Number of the connection, from 1.
        let number: Int
        /// Number of bytes that the kernel has accepted from ``write(_:)``, over all connections.
        let written: AsyncValue<Int>

        fileprivate init(_ socket: Int32, number: Int, written: AsyncValue<Int>) {
            self.socket = socket
            self.number = number
            self.written = written
        }

        /// Reads the next request.
        /// - Returns: the head and a body of `Content-Length` bytes; `nil` if the client has disconnected.
        func request() -> (head: String, body: [UInt8])? {
            while true {
                let text = String(decoding: self.unread, as: UTF8.self)
                if let end = text.range(of: "\r\n\r\n") {
                    let head = String(text[..<end.lowerBound])
                    self.unread.removeFirst(head.utf8.count + 4)
                    let line = head.lowercased().components(separatedBy: "\r\n").first { $0.hasPrefix("content-length:") }
                    let length = line.flatMap { Int($0.dropFirst(15).filter { $0 != " " }) } ?? 0
                    while self.unread.count < length { guard self.receive() else { return nil } }
                    defer { self.unread.removeFirst(length) }
                    return (head, Array(self.unread[..<length]))
                }
                guard self.receive() else { return nil }
            }
        }

        /// - Returns: whether bytes were received.
        func receive() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(self.socket, &buffer, buffer.count, 0)
            guard count > 0 else { return false }
            self.unread += buffer[..<count]
            return true
        }

        /// - Returns: `false` if the client has disconnected.
        @discardableResult
        func write(_ bytes: [UInt8]) -> Bool {
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    send(self.socket, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return false }
                sent += count
                self.written.change { $0 += count }
            }
            return true
        }

        @discardableResult
        func write(_ text: String) -> Bool { self.write(Array(text.utf8)) }

        func reply(_ status: String, _ body: String = "", _ fields: String = "") {
            self.write("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
        }

        /// Makes the close send a TCP reset instead of a regular end.
        func reset() {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(self.socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
    }

    let port: Int
    /// Number of bytes written to all clients.
    let written = AsyncValue(0)
    let connections = AsyncValue(0)
    let closed = AsyncValue(0)
    private let listener: Int32

    /// - Parameter serve: called for each connection on a separate thread. The connection is closed when it returns.
    init(_ serve: @escaping @Sendable (Peer) -> Void) throws {
        self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        // A small send buffer, so that a client that does not read soon blocks the server.
        var buffer: Int32 = 65_536
        setsockopt(self.listener, SOL_SOCKET, SO_SNDBUF, &buffer, socklen_t(MemoryLayout<Int32>.size))
        let listener = self.listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isListening else { throw ChildProcess.Failure(description: "no free port for the test server") }
        self.port = Int(UInt16(bigEndian: address.sin_port))
        let (written, connections, closed) = (self.written, self.connections, self.closed)
        Thread.detachNewThread {
            while true {
                let socket = accept(listener, nil, nil)
                guard socket >= 0 else { return }
                let number = connections.change { count in
                    count += 1
                    return count
                }
                Thread.detachNewThread {
                    serve(Peer(socket, number: number, written: written))
                    Glibc.close(socket)
                    closed.change { $0 += 1 }
                }
            }
        }
    }

    deinit {
        // Unblocks `accept`, which `close` would not.
        shutdown(self.listener, Int32(SHUT_RDWR))
        Glibc.close(self.listener)
    }

    var url: String { "http://127.0.0.1:\(self.port)" }
}
