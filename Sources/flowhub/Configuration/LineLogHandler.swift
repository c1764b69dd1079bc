import FlowCore
import Foundation
import Logging

/// Writes log lines to standard error, as text or JSON, with the metadata sorted by key.
struct LineLogHandler: LogHandler {
    enum Format { case text, json }

    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    let format: Format

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    /// Writes one line with the time, level, message and metadata of the event.
    func log(event: LogEvent) {
        let time = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
        let metadata = self.metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        var line: String
        switch self.format {
        case .text:
            line = "\(time) \(event.level) \(event.message)"
            for (key, value) in metadata { line += " \(key)=\(Self.printable(value.description))" }
        case .json:
            line =
                JSONText.object { writer in
                    writer.key("time")
                    writer.value(time.description)
                    writer.key("level")
                    writer.value(event.level.rawValue)
                    writer.key("message")
                    writer.value(event.message.description)
                    for (key, value) in metadata {
                        writer.key(key)
                        Self.write(value, to: &writer)
                    }
                }.string
        }
        // The line is lost if standard error is a file on a full disk, or a closed pipe. `write(_:)` would end the process.
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }

    /// Writes a metadata value as JSON: numbers as numbers, everything else as text.
    private static func write(_ value: Logger.Metadata.Value, to writer: inout JSONWriter) {
        guard case .stringConvertible(let content) = value else { return writer.value(value.description) }
        switch content {
        case let number as any BinaryInteger: writer.value(Int64(clamping: number))
        case let number as Double: writer.value(number)
        default: writer.value(content.description)
        }
    }

    /// A metadata value without line breaks. A value that is empty, or has other characters than visible ASCII or a quote or
    /// `=`, is written as a JSON string, so that no value can forge a log line or another metadata entry.
    private static func printable(_ value: String) -> String {
        let isPlain = value.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
        if isPlain, !value.isEmpty { return value }
        return JSONText.array { $0.value(value) }.elements.first?.string ?? "\"\""
    }
}
