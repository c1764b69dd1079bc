/// Writes one JSON document in compact form. The writer adds commas and escapes; the caller is responsible for the
/// order of the calls.
///
/// ```swift
/// var writer = JSONWriter()
/// writer.beginObject()
/// writer.key("version")
/// writer.value(7)
/// writer.endObject()
/// let text = writer.finish()
/// ```
///
/// A misplaced name, a missing value or an open container is a programming error, which traps in a debug build.
public struct JSONWriter: Sendable {
    private var bytes: [UInt8] = []
    private var needsComma = false

    /// - Parameter capacity: expected length in bytes, to allocate once.
    public init(capacity: Int = 0) { self.bytes.reserveCapacity(capacity) }

    public mutating func beginObject() { self.begin(UInt8(ascii: "{")) }

    public mutating func endObject() { self.end(UInt8(ascii: "}")) }

    public mutating func beginArray() { self.begin(UInt8(ascii: "[")) }

    public mutating func endArray() { self.end(UInt8(ascii: "]")) }

    /// Writes a member's name. Its value must follow.
    public mutating func key(_ key: String) {
        self.separate()
        JSONStringEncoding.append(key, to: &self.bytes)
        self.bytes.append(UInt8(ascii: ":"))
        self.needsComma = false
    }

    public mutating func value(_ value: String) {
        self.separate()
        JSONStringEncoding.append(value, to: &self.bytes)
    }

    public mutating func value(_ value: Int64) {
        self.separate()
        self.bytes.append(contentsOf: String(value).utf8)
    }

    public mutating func value(_ value: Int) { self.value(Int64(value)) }

    /// Writes the shortest number that reads back as the same double, or `null` for infinity and NaN, which JSON does
    /// not have.
    public mutating func value(_ value: Double) {
        self.separate()
        self.bytes.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
    }

    public mutating func value(_ value: Bool) {
        self.separate()
        self.bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    public mutating func null() {
        self.separate()
        self.bytes.append(contentsOf: "null".utf8)
    }

    /// Writes a value unchanged.
    public mutating func raw(_ text: JSONText) {
        self.separate()
        self.bytes.append(contentsOf: text.bytes)
    }

    /// Writes the members of an object, unchanged, as members of the open object. Any other value adds nothing.
    public mutating func rawMembers(of object: JSONText) {
        guard object.isObject, object.bytes.count > 2 else { return }
        self.separate()
        self.bytes.append(contentsOf: object.bytes[1..<object.bytes.count - 1])
    }

    /// Ends the document and returns it.
    public consuming func finish() -> JSONText { JSONText(trusted: self.bytes) }

    /// Writes the bracket that opens an object or array.
    private mutating func begin(_ byte: UInt8) {
        self.separate()
        self.bytes.append(byte)
        self.needsComma = false
    }

    /// Writes the bracket that closes an object or array.
    private mutating func end(_ byte: UInt8) {
        self.bytes.append(byte)
        self.needsComma = true
    }

    /// Writes the comma before a member or value if one is needed, and expects one before the next.
    private mutating func separate() {
        if self.needsComma { self.bytes.append(UInt8(ascii: ",")) }
        self.needsComma = true
    }
}

extension JSONText {
    /// An object whose members the closure writes.
    public static func object<Failure: Error>(
        _ writeMembers: (inout JSONWriter) throws(Failure) -> Void
    ) throws(Failure) -> JSONText {
        var writer = JSONWriter()
        writer.beginObject()
        try writeMembers(&writer)
        writer.endObject()
        return writer.finish()
    }

    /// An array whose elements the closure writes.
    public static func array<Failure: Error>(
        _ writeElements: (inout JSONWriter) throws(Failure) -> Void
    ) throws(Failure) -> JSONText {
        var writer = JSONWriter()
        writer.beginArray()
        try writeElements(&writer)
        writer.endArray()
        return writer.finish()
    }
}
