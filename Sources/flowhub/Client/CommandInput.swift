import FlowCore
import Foundation

/// The input of a command: an argument, or standard input if the argument is `-` or missing.
enum CommandInput {
    /// The maximum size of standard input, 64 MiB.
    static let maximumBytes = 64 * 1_048_576

    /// Returns the argument, or reads standard input to its end.
    /// - Returns: `nil` if the argument is missing and standard input is a terminal.
    /// - Throws: ``CommandFailure`` of kind `usage` if standard input cannot be read or exceeds ``maximumBytes``.
    static func bytes(_ argument: String?) throws(CommandFailure) -> [UInt8]? {
        if let argument, argument != "-" { return Array(argument.utf8) }
        if argument == nil, isatty(STDIN_FILENO) == 1 { return nil }
        var bytes: [UInt8] = []
        while true {
            let chunk: Data?
            do { chunk = try FileHandle.standardInput.read(upToCount: 65_536) } catch {
                throw CommandFailure(.usage, "Cannot read standard input. Pass the data as an argument instead of -.")
            }
            guard let chunk, !chunk.isEmpty else { return bytes }
            bytes.append(contentsOf: chunk)
            guard bytes.count <= Self.maximumBytes else {
                throw CommandFailure(.usage, "Standard input exceeds \(Self.maximumBytes >> 20) MiB. Split the input.")
            }
        }
    }

    /// Reads a JSON document like ``bytes(_:)`` and validates it, so that an invalid one fails without a request to the hub.
    /// - Parameter missing: returned for an empty input; if `nil`, an empty input is an error.
    /// - Throws: ``CommandFailure`` of kind `usage` if the document cannot be read or is invalid.
    static func json(_ argument: String?, orElse missing: JSONText? = nil) throws(CommandFailure) -> JSONText {
        let bytes = try Self.bytes(argument) ?? []
        if let missing, bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }) { return missing }
        do { return try JSONText(validating: JSONText.withoutByteOrderMark(bytes)) } catch {
            throw CommandFailure(.usage, "\(error) A JSON string needs its own quotes: '\"like this\"'.")
        }
    }
}
