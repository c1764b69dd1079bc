import NIOCore
import NIOEmbedded
import Testing

@testable import FlowHTTP

struct ProxyProtocolHeaderTests {
    private static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

    private static func header(command: UInt8 = 0x21, family: UInt8 = 0x11, _ rest: [UInt8]) -> [UInt8] {
        Self.signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 0xff)] + rest
    }

    private static let ipv4 = Self.header([203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80])

    private static func read(_ bytes: [UInt8]) -> (ProxyProtocolHeader.Reading, rest: Int) {
        var buffer = ByteBuffer(bytes: bytes)
        let reading = ProxyProtocolHeader.read(from: &buffer)
        return (reading, buffer.readableBytes)
    }

    @Test func readsAddressesAndSkipsFurtherValues() {
        #expect(Self.read(Self.ipv4 + [71, 69]) == (Self.plain("203.0.113.9"), 2))
        let ipv6: [UInt8] = [0x20, 0x01, 0x0d, 0xb8] + Array(repeating: 0, count: 11) + [7] + Array(repeating: 0, count: 20)
        #expect(Self.read(Self.header(family: 0x21, ipv6)) == (Self.plain("2001:db8::7"), 0))
        let values: [UInt8] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80, 0x04, 0, 1, 0]
        #expect(Self.read(Self.header(values)) == (Self.plain("203.0.113.9"), 0))
    }

    private static func plain(_ client: String) -> ProxyProtocolHeader.Reading {
        .header(client: IPAddress(client), isSecure: false)
    }

    /// The values of `PP2_TYPE_SSL`: flags, the result of the check of the client's certificate, and further values.
    @Test func readsWhetherClientUsedTLS() {
        let ipv4: [UInt8] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80]
        let ipv6: [UInt8] = Array(repeating: 0, count: 15) + [7] + Array(repeating: 0, count: 20)
        let other: [UInt8] = [0x04, 0, 1, 0]
        let isTLS: [UInt8] = [0x20, 0, 5, 1, 0, 0, 0, 0]
        let isPlain: [UInt8] = [0x20, 0, 5, 0, 0, 0, 0, 0]
        for (values, expected) in [
            (isTLS, true), (other + isTLS, true), (isTLS + other, true), (isPlain, false), (other, false), ([0x20], false),
            ([0x20, 0, 9, 1], false), ([0x20, 0, 0], false), ([0xff, 0xff, 0xff] + isTLS, false),
        ] {
            #expect(Self.read(Self.header(ipv4 + values)).0 == .header(client: IPAddress("203.0.113.9"), isSecure: expected))
            #expect(
                Self.read(Self.header(family: 0x21, ipv6 + values)).0 == .header(client: IPAddress("::7"), isSecure: expected))
        }
    }

    @Test func acceptsConnectionsWithoutClientAddress() {
        #expect(
            Self.read(Self.header(command: 0x20, family: 0, [])) == (.header(client: nil, isSecure: false), 0),
            "LOCAL: a health check")
        #expect(
            Self.read(Self.header(command: 0x20, [203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0, 0])) == (
                .header(client: nil, isSecure: false), 0
            ))
        #expect(Self.read(Self.header(family: 0x00, [])) == (.header(client: nil, isSecure: false), 0), "UNSPEC")
        #expect(
            Self.read(Self.header(family: 0x31, Array(repeating: 0, count: 216))) == (.header(client: nil, isSecure: false), 0),
            "UNIX")
    }

    @Test func waitsForEveryByteOfHeader() {
        for count in 0..<Self.ipv4.count { #expect(Self.read(Array(Self.ipv4.prefix(count))) == (.incomplete, count)) }
    }

    @Test func rejectsEverythingElse() {
        for bytes in [
            Array("GET / HTTP/1.1\r\n".utf8), Array("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".utf8), [0x0d, 0x0a, 0x47],
            Self.header(command: 0x11, []), Self.header(command: 0x22, []), Self.header([203, 0, 113]),
            Self.header(family: 0x21, Array(repeating: 0, count: 12)),
            Self.signature + [0x21, 0x11, 0xff, 0xff],
        ] {
            #expect(Self.read(bytes).0 == .invalid, "\(bytes.prefix(20))")
        }
    }

    @Test(arguments: [1, 7, 1_000])
    func passesOnWhatFollowsHeader(_ chunk: Int) throws {
        var clients: [IPAddress?] = []
        let channel = EmbeddedChannel(
            handler: ProxyProtocolReader(onHeader: { client, _ in clients.append(client) }, onInvalid: {}))
        let bytes = Self.ipv4 + Array("GET / HTTP/1.1\r\n".utf8)
        for start in stride(from: 0, to: bytes.count, by: chunk) {
            try channel.writeInbound(ByteBuffer(bytes: bytes[start..<min(start + chunk, bytes.count)]))
        }
        var received = ByteBuffer()
        while let part = try channel.readInbound(as: ByteBuffer.self) { received.writeImmutableBuffer(part) }
        #expect(String(buffer: received) == "GET / HTTP/1.1\r\n")
        #expect(clients == [IPAddress("203.0.113.9")])
        #expect(throws: (any Error).self) { try channel.pipeline.syncOperations.handler(type: ProxyProtocolReader.self) }
    }

    @Test func closesConnectionWithoutHeader() throws {
        var invalid = 0
        let channel = EmbeddedChannel(handler: ProxyProtocolReader(onHeader: { _, _ in }, onInvalid: { invalid += 1 }))
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        try channel.writeInbound(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
        #expect(try channel.readInbound(as: ByteBuffer.self) == nil)
        #expect(invalid == 1 && !channel.isActive)
    }
}
