import FlowCore
import Foundation
import Logging

/// Logs lines to standard error, as text or JSON, with the metadata sorted by key.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    let format: LogLine.Format
    /// Writes the lines without waiting; `nil`: they are written before the call returns.
    var writer: LogWriter?
    /// Whether there may be many lines, so that the caller does not write them itself.
    var isFrequent = false

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    /// Writes one line with the time, level, message and metadata of the event.
    func log(event: LogEvent) {
        let line = LogLine(
            time: SystemClock.now(), level: event.level, message: event.message.description, context: self.metadata,
            metadata: event.metadata ?? [:])
        guard let writer = self.writer else { return LogWriter.write(line.text(self.format)) }
        writer.add(line, isFrequent: self.isFrequent)
    }
}

/// One line of the log.
struct LogLine: Sendable {
    enum Format { case text, json }

    var time: Timestamp
    var level: Logger.Level
    var message: String
    /// The metadata of the logger.
    var context: Logger.Metadata
    /// The metadata of the message; it takes precedence.
    var metadata: Logger.Metadata

    /// The line, with its line feed.
    func text(_ format: Format) -> String {
        let metadata = self.context.merging(self.metadata) { $1 }.sorted { $0.key < $1.key }
        switch format {
        case .text:
            var line = "\(self.time) \(self.level) \(self.message)"
            for (key, value) in metadata { line += " \(key)=\(Self.printable(value.description))" }
            return line + "\n"
        case .json:
            return JSONText.object { writer in
                writer.key("time")
                writer.value(self.time.description)
                writer.key("level")
                writer.value(self.level.rawValue)
                writer.key("message")
                writer.value(self.message)
                for (key, value) in metadata {
                    writer.key(key)
                    Self.write(value, to: &writer)
                }
            }.string + "\n"
        }
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
