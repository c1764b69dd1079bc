import FlowTestKit
import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// A server of the loopback interface that says exactly what a test tells it to, one connection on one thread each.
final class RawServer: Sendable {
    /// What one connection sees and does. Confined to its thread; every call blocks.
    final class Peer {
        private let socket: Int32
        private var unread: [UInt8] = []
        /// Which connection of the server this is, from 1 on.
        let number: Int
        /// How many bytes the kernel has taken from ``write(_:)``.
        let written: AsyncValue<Int>

        fileprivate init(_ socket: Int32, number: Int, written: AsyncValue<Int>) {
            self.socket = socket
            self.number = number
            self.written = written
        }

        /// The next request's head as it came, and its body as long as `Content-Length` says; `nil` when the client has gone.
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

        /// - Returns: whether something came.
        func receive() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(self.socket, &buffer, buffer.count, 0)
            guard count > 0 else { return false }
            self.unread += buffer[..<count]
            return true
        }

        /// - Returns: `false` when the client has gone.
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

        /// The client sees a reset instead of an end.
        func reset() {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(self.socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
    }

    let port: Int
    /// Bytes that were written to clients.
    let written = AsyncValue(0)
    let connections = AsyncValue(0)
    let closed = AsyncValue(0)
    private let listener: Int32

    /// - Parameter serve: called on a thread of its own for each connection, which is closed when it returns.
    init(_ serve: @escaping @Sendable (Peer) -> Void) throws {
        self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        // Small, so that a client that does not read is felt soon.
        var buffer: Int32 = 65_536
        setsockopt(self.listener, SOL_SOCKET, SO_SNDBUF, &buffer, socklen_t(MemoryLayout<Int32>.size))
        let listener = self.listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isListening else { throw ChildProcess.Failure(description: "no port for a server of the test's") }
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
        // Wakes `accept`, which `close` would not.
        shutdown(self.listener, Int32(SHUT_RDWR))
        Glibc.close(self.listener)
    }

    var url: String { "http://127.0.0.1:\(self.port)" }
}
