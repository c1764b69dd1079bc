public import NIOCore

/// Encoders of the lines of an event stream (WHATWG HTML, section 9.2, "Server-sent events").
///
/// Types and cursors consist of allow-listed characters and data is compact JSON, so no field can contain a line break.
extension ByteBuffer {
    /// Writes `id: <epoch>-<version>`, the cursor of a stream with one flow.
    mutating func writeIDLine(epoch: Epoch, version: Version) {
        self.writeString("id: \(epoch)-\(version)\n")
    }

    /// Writes a cursor as `id: …`. Only a cursor with an epoch can be written.
    public mutating func writeIDLine(_ cursor: Cursor) {
        switch cursor {
        case .flow(let epoch, let version):
            self.writeIDLine(epoch: epoch, version: version)
        case .flows(let epoch, let hash, let versions):
            self.writeString("id: \(epoch)-\(hash)-")
            var isFirst = true
            for version in versions {
                if !isFirst { self.writeInteger(UInt8(ascii: ".")) }
                isFirst = false
                if let version { self.writeString(String(version, radix: 36)) } else { self.writeInteger(UInt8(ascii: "~")) }
            }
            self.writeInteger(UInt8(ascii: "\n"))
        case .none, .start, .unreadable:
            assertionFailure("a stream has no such cursor")
        }
    }

    /// Writes `event: …`.
    mutating func writeTypeLine(_ type: String) {
        self.writeStaticString("event: ")
        self.writeString(type)
        self.writeStaticString("\n")
    }

    /// Writes `retry: …`: the time that an `EventSource` waits before it reconnects, in milliseconds.
    public mutating func writeRetryLine(milliseconds: Int) {
        self.writeString("retry: \(milliseconds)\n")
    }

    /// Writes a comment of this many spaces. A client ignores it.
    public mutating func writePadding(_ count: Int) {
        self.writeStaticString(":")
        self.writeRepeatingByte(UInt8(ascii: " "), count: count)
        self.writeStaticString("\n")
    }
}
