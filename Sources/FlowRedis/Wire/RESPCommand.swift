import CHiredis
import NIOCore

/// A command with its arguments. Arguments are bytes with a length prefix: their content cannot change the command's
/// structure.
public struct RESPCommand: Hashable, Sendable {
    public private(set) var arguments: [[UInt8]]

    public init(_ name: String, _ arguments: String...) {
        self.arguments = [Array(name.utf8)] + arguments.map { Array($0.utf8) }
    }

    /// Appends an argument.
    public mutating func add(_ argument: String) { self.arguments.append(Array(argument.utf8)) }
    /// Appends an argument.
    public mutating func add(_ argument: [UInt8]) { self.arguments.append(argument) }
    /// Appends a number as an argument, in decimal.
    public mutating func add(_ number: some BinaryInteger) { self.add(String(number)) }

    /// Approximate size on the wire in bytes.
    var byteCount: Int { self.arguments.reduce(16) { $0 + $1.count + 16 } }
}

extension ByteBuffer {
    /// Appends a command in RESP, formatted by hiredis.
    mutating func write(_ command: RESPCommand) {
        // All arguments in one buffer, so that pointers into it stay valid. This is one copy in addition to the
        // formatter's.
        var row: [UInt8] = []
        row.reserveCapacity(command.arguments.reduce(0) { $0 + $1.count })
        for argument in command.arguments { row += argument }
        let lengths = command.arguments.map(\.count)
        row.withUnsafeBufferPointer { row in
            var offset = 0
            var pointers: [UnsafePointer<CChar>?] = lengths.map { length in
                defer { offset += length }
                return row.baseAddress.map { UnsafeRawPointer($0 + offset).assumingMemoryBound(to: CChar.self) }
            }
            var formatted: UnsafeMutablePointer<CChar>?
            let count = flowhub_format(&formatted, Int32(lengths.count), &pointers, lengths)
            // Out of memory is fatal, as everywhere in Swift.
            guard count >= 0, let formatted else { fatalError("out of memory") }
            defer { flowhub_free_command(formatted) }
            self.writeBytes(UnsafeRawBufferPointer(start: formatted, count: Int(count)))
        }
    }
}
