/// The id of an import: a UUID (RFC 9562) in lower case.
public struct ImportID: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let rawValue: String

    /// Reads an id. Upper-case letters are converted to lower case.
    /// - Returns: `nil` unless the text is a UUID with its hyphens.
    public init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard bytes.count == 36 else { return nil }
        for (index, byte) in bytes.enumerated() {
            let isHyphen = index == 8 || index == 13 || index == 18 || index == 23
            guard isHyphen ? byte == UInt8(ascii: "-") : JSONByte.hexadecimal(byte) != nil else { return nil }
        }
        self.rawValue = text.lowercased()
    }

    private init(trusted text: String) { self.rawValue = text }

    /// A new random id, a UUID of version 4.
    public static func random() -> ImportID {
        var hex = Array(RandomText.hex128().utf8)
        hex[12] = UInt8(ascii: "4")
        hex[16] = [UInt8(ascii: "8"), UInt8(ascii: "9"), UInt8(ascii: "a"), UInt8(ascii: "b")][Int(hex[16]) & 3]
        for index in [8, 13, 18, 23] { hex.insert(UInt8(ascii: "-"), at: index) }
        return ImportID(trusted: String(decoding: hex, as: UTF8.self))
    }

    /// The order of the ids' texts, in which maintenance goes through imports.
    public static func < (left: ImportID, right: ImportID) -> Bool { left.rawValue < right.rawValue }

    public var description: String { self.rawValue }
}
