import FlowCore
import Foundation

/// What a command takes in: an argument, or standard input where the argument is `-` or missing.
enum CommandInput {
    /// Above this the hub would refuse it anyway.
    static let maximumBytes = 64 * 1_048_576

    /// - Returns: `nil` if there is neither an argument nor anything but a terminal at standard input.
    static func bytes(_ argument: String?) throws(CommandFailure) -> [UInt8]? {
        if let argument, argument != "-" { return Array(argument.utf8) }
        if argument == nil, isatty(STDIN_FILENO) == 1 { return nil }
        var bytes: [UInt8] = []
        while true {
            let chunk: Data?
            do { chunk = try FileHandle.standardInput.read(upToCount: 65_536) } catch {
                throw CommandFailure(.usage, "Standard input could not be read.")
            }
            guard let chunk, !chunk.isEmpty else { return bytes }
            bytes.append(contentsOf: chunk)
            guard bytes.count <= Self.maximumBytes else {
                throw CommandFailure(.usage, "Standard input has more than \(Self.maximumBytes >> 20) MiB. Send it in parts.")
            }
        }
    }

    /// A JSON document, checked here, since the hub could say no more about it than we can.
    static func json(_ argument: String?, orElse missing: JSONText? = nil) throws(CommandFailure) -> JSONText {
        let bytes = try Self.bytes(argument) ?? []
        if let missing, bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }) { return missing }
        do { return try JSONText(validating: bytes) } catch {
            throw CommandFailure(.usage, "\(error) Text must stand in quotes of its own: '\"like this\"'.")
        }
    }
}
