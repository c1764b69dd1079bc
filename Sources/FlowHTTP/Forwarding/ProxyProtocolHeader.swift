import NIOCore

/// The header of the PROXY protocol, version 2, with which a proxy begins a connection
/// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.2).
enum ProxyProtocolHeader {
    /// What the received bytes are.
    enum Reading: Equatable {
        /// The beginning of a header.
        case incomplete
        /// A header. `client`: the client's address; `nil` if the proxy states none: the connection is its own, such as a health
        /// check, or not one of TCP over IP. `isSecure`: whether the proxy states that the client used TLS.
        case header(client: IPAddress?, isSecure: Bool)
        /// No header of version 2, or an invalid one.
        case invalid
    }

    private static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
    /// Bytes before the addresses.
    private static let fixedBytes = 16
    /// Maximum bytes of addresses and further values (TLVs) after the fixed part, which a proxy may add. HAProxy and AWS send
    /// some hundred.
    static let maximumLength = 4_096

    /// Reads a header from the start of the buffer. Moves the reader index behind it if it is complete.
    static func read(from buffer: inout ByteBuffer) -> Reading {
        let view = buffer.readableBytesView
        guard view.prefix(Self.signature.count).elementsEqual(Self.signature.prefix(view.count)) else { return .invalid }
        guard view.count >= Self.fixedBytes else { return .incomplete }
        let start = view.startIndex
        let (versionAndCommand, family) = (view[start + 12], view[start + 13])
        let length = Int(view[start + 14]) << 8 | Int(view[start + 15])
        guard versionAndCommand >> 4 == 2, versionAndCommand & 0xf <= 1, length <= Self.maximumLength else { return .invalid }
        guard view.count >= Self.fixedBytes + length else { return .incomplete }
        let addresses = view.dropFirst(Self.fixedBytes).prefix(length)
        buffer.moveReaderIndex(forwardBy: Self.fixedBytes + length)
        let isLocal = versionAndCommand & 0xf == 0
        if isLocal { return .header(client: nil, isSecure: false) }
        switch family {
        case 0x11:
            guard length >= 12 else { return .invalid }
            return .header(client: IPAddress(bytes: addresses.prefix(4)), isSecure: Self.stateTLS(addresses.dropFirst(12)))
        case 0x21:
            guard length >= 36 else { return .invalid }
            return .header(client: IPAddress(bytes: addresses.prefix(16)), isSecure: Self.stateTLS(addresses.dropFirst(36)))
        default:
            return .header(client: nil, isSecure: false)
        }
    }

    /// Whether the values after the addresses have one of the type `PP2_TYPE_SSL` (2.2.5) that says that the client used TLS
    /// (`send-proxy-v2-ssl` of HAProxy).
    private static func stateTLS(_ values: ByteBufferView) -> Bool {
        var rest = values
        while rest.count >= 3 {
            let start = rest.startIndex
            let length = Int(rest[start + 1]) << 8 | Int(rest[start + 2])
            guard rest.count >= 3 + length else { return false }
            // Its first byte has flags; 1 is PP2_CLIENT_SSL.
            if rest[start] == 0x20, length >= 1, rest[start + 3] & 1 == 1 { return true }
            rest = rest.dropFirst(3 + length)
        }
        return false
    }
}

/// The first handler of a connection from a trusted proxy that uses the PROXY protocol. Reads the header, then removes itself.
///
/// The specification forbids to guess whether a header is there (section 2): a connection without one is closed.
final class ProxyProtocolReader: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum State { case reading, done, rejected }

    private var received = ByteBuffer()
    private var state = State.reading
    private let onHeader: (_ client: IPAddress?, _ isSecure: Bool) -> Void
    private let onInvalid: () -> Void

    /// - Parameters:
    ///   - onHeader: called with the client's address and whether it uses TLS, before any byte of the client is passed on.
    ///   - onInvalid: called before the connection is closed because it does not begin with a valid header.
    init(onHeader: @escaping (_ client: IPAddress?, _ isSecure: Bool) -> Void, onInvalid: @escaping () -> Void) {
        self.onHeader = onHeader
        self.onInvalid = onInvalid
    }

    /// Collects the bytes of the header, and passes on what follows it.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.state {
        case .reading: self.readHeader(context, data)
        case .done: context.fireChannelRead(data)
        case .rejected: break
        }
    }

    private func readHeader(_ context: ChannelHandlerContext, _ data: NIOAny) {
        self.received.writeImmutableBuffer(self.unwrapInboundIn(data))
        switch ProxyProtocolHeader.read(from: &self.received) {
        case .incomplete: break
        case .invalid:
            self.state = .rejected
            self.onInvalid()
            context.close(promise: nil)
        case .header(let client, let isSecure):
            self.state = .done
            self.onHeader(client, isSecure)
            let rest = self.received
            self.received = ByteBuffer()
            if rest.readableBytes > 0 { context.fireChannelRead(self.wrapInboundOut(rest)) }
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
    }
}
