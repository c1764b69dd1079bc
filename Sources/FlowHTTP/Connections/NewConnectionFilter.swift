import NIOCore

/// A socket filter (BPF, socket(7)) with which the kernel ignores new connections to a listening socket. Connections that wait
/// to be accepted are not affected.
enum NewConnectionFilter {
    /// `struct sock_filter` of Linux: an instruction of the filter.
    private struct Instruction {
        var code: UInt16
        var ifTrue: UInt8 = 0
        var ifFalse: UInt8 = 0
        var operand: UInt32
    }

    /// `struct sock_fprog` of Linux: the filter. Used on the channel's event loop only.
    private struct Program: @unchecked Sendable {
        var count: UInt16
        var instructions: UnsafeMutablePointer<Instruction>
    }

    /// `SO_ATTACH_FILTER`
    private static let attachFilter = NIOBSDSocket.Option(rawValue: 26)
    /// The filter sees a segment from its TCP header on. Byte 13 has the flags: SYN (2) without ACK (16) opens a connection.
    private static let instructions = [
        Instruction(code: 0x30, operand: 13),  // load byte 13
        Instruction(code: 0x54, operand: 0x12),  // and
        Instruction(code: 0x15, ifTrue: 0, ifFalse: 1, operand: 0x02),  // jump if not equal, over the next one
        Instruction(code: 0x06, operand: 0),  // drop the segment
        Instruction(code: 0x06, operand: .max),  // keep the segment
    ]

    /// Installs the filter.
    /// - Returns: whether the kernel accepted it.
    static func install(on listener: any Channel) async -> Bool {
        guard let provider = listener as? any SocketOptionProvider else { return false }
        let installed = listener.eventLoop.flatSubmit {
            let instructions = UnsafeMutablePointer<Instruction>.allocate(capacity: Self.instructions.count)
            instructions.initialize(from: Self.instructions, count: Self.instructions.count)
            // On its event loop the channel sets the option before the call returns.
            defer { instructions.deallocate() }
            let program = Program(count: UInt16(Self.instructions.count), instructions: instructions)
            return provider.unsafeSetSocketOption(level: .socket, name: Self.attachFilter, value: program)
        }
        do { try await installed.get() } catch { return false }
        return true
    }
}
