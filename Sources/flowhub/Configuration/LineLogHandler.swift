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
                        writer.value(value.description)
                    }
                }.string
        }
        FileHandle.standardError.write(Data((line + "\n").utf8))
    }

    /// A metadata value on one line. Quoted as a JSON string if it has other than plain characters, so that no value can
    /// forge a log line.
    private static func printable(_ value: String) -> String {
        let isPlain = value.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") }
        if isPlain, !value.isEmpty { return value }
        return JSONText.array { $0.value(value) }.elements.first?.string ?? "\"\""
    }
}
