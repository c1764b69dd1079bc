/// The rules for keys, attributes, ranges and links that all implementations of ``ObjectStore`` share.
public enum ObjectRules {
    /// Maximum bytes of an object's key.
    public static let maximumKeyBytes = 1_024
    /// Maximum bytes of all metadata names and values of an object together.
    public static let maximumMetadataBytes = 2_048
    /// Maximum lifetime of a download link: one week, as in R2.
    public static let maximumLinkSeconds = 604_800

    /// Checks the key of an object.
    /// - Throws: ``ObjectError/invalid(_:)`` if the key is not valid. The other `check` functions throw the same error.
    public static func check(key: String) throws(ObjectError) {
        guard !key.isEmpty, key.utf8.count <= self.maximumKeyBytes else {
            throw .invalid("An object key must have 1 to \(self.maximumKeyBytes) bytes, not \(key.utf8.count).")
        }
        guard key.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ self.isSegment($0) }) else {
            throw .invalid(
                "An object key must have segments of A-Z a-z 0-9 _ . : - between slashes, and none that is empty, . or ..")
        }
    }

    /// Checks a prefix of object keys, or the key after which a list starts. Either may be empty.
    public static func check(prefix: String) throws(ObjectError) {
        guard prefix.utf8.count <= self.maximumKeyBytes, prefix.utf8.allSatisfy({ self.isAllowed($0) || $0 == UInt8(ascii: "/") })
        else {
            throw .invalid(
                "A prefix of object keys must have at most \(self.maximumKeyBytes) bytes of A-Z a-z 0-9 _ . : - and /")
        }
    }

    /// Checks the content type and the metadata of an object.
    public static func check(_ attributes: ObjectAttributes) throws(ObjectError) {
        guard !attributes.contentType.isEmpty, self.isPrintable(attributes.contentType) else {
            throw .invalid("An object's content type must be printable ASCII and not empty.")
        }
        var bytes = 0
        for (name, value) in attributes.metadata {
            guard !name.isEmpty, name.utf8.allSatisfy({ self.isNameByte($0) }) else {
                throw .invalid("The name of an object's metadata must consist of a-z 0-9 _ - and not be empty: \(name)")
            }
            guard self.isPrintable(value) else { throw .invalid("The metadata value of \(name) must be printable ASCII.") }
            bytes += name.utf8.count + value.utf8.count
        }
        guard bytes <= self.maximumMetadataBytes else {
            throw .invalid("An object's metadata must have at most \(self.maximumMetadataBytes) bytes, not \(bytes).")
        }
    }

    /// Checks the lifetime of a download link.
    public static func check(linkSeconds seconds: Int) throws(ObjectError) {
        guard (1...self.maximumLinkSeconds).contains(seconds) else {
            throw .invalid(
                "The lifetime of a download link must be from 1 to \(self.maximumLinkSeconds) seconds, not \(seconds).")
        }
    }

    /// The part of a byte range that is within an object of this size; all bytes of the object if there is no range.
    /// - Throws: ``ObjectError/invalid(_:)`` if the range is empty, or starts at or after the object's end.
    public static func clamp(_ range: Range<Int>?, size: Int) throws(ObjectError) -> Range<Int> {
        guard let range else { return 0..<size }
        guard range.lowerBound >= 0, !range.isEmpty, range.lowerBound < size else {
            throw .invalid(
                "The byte range from \(range.lowerBound) to \(range.upperBound) is not within the object's \(size) bytes.")
        }
        return range.lowerBound..<min(range.upperBound, size)
    }

    /// Whether the text is a valid segment of a key: the part between two slashes.
    public static func isSegment(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.allSatisfy { self.isAllowed($0) }
    }

    /// Whether the byte may occur in a segment of a key.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "_.:-".utf8.contains(byte)
        }
    }

    /// Whether the byte may occur in a metadata name.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// Whether the text consists of printable ASCII and spaces.
    private static func isPrintable(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }
}
