import CHiredis
import NIOCore

/// A command with its arguments. Arguments are bytes and are never taken for anything else.
public struct RESPCommand: Hashable, Sendable {
    public private(set) var arguments: [[UInt8]]

    public init(_ name: String, _ arguments: String...) {
        self.arguments = [Array(name.utf8)] + arguments.map { Array($0.utf8) }
    }

    public mutating func add(_ argument: String) { self.arguments.append(Array(argument.utf8)) }
    public mutating func add(_ argument: [UInt8]) { self.arguments.append(argument) }
    public mutating func add(_ number: some BinaryInteger) { self.add(String(number)) }

    /// What it takes on the wire, about.
    var byteCount: Int { self.arguments.reduce(16) { $0 + $1.count + 16 } }
}

extension ByteBuffer {
    /// The command as Redis reads it, by hiredis's formatter.
    mutating func write(_ command: RESPCommand) {
        // One copy beside the formatter's: the arguments in a row, so that they can be pointed at.
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
            // As Swift itself does without memory.
            guard count >= 0, let formatted else { fatalError("out of memory") }
            defer { flowhub_free_command(formatted) }
            self.writeBytes(UnsafeRawBufferPointer(start: formatted, count: Int(count)))
        }
    }
}
