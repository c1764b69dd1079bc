/// What an ``ObjectStore`` takes: the rules of its keys and attributes, for its implementations.
public enum ObjectRules {
    public static let maximumKeyBytes = 1_024
    public static let maximumMetadataBytes = 2_048
    /// A week, as R2 has it.
    public static let maximumLinkSeconds = 604_800

    /// - Throws: ``ObjectError/invalid(_:)``, as all of these.
    public static func check(key: String) throws(ObjectError) {
        guard !key.isEmpty, key.utf8.count <= self.maximumKeyBytes else {
            throw .invalid("A key has 1 to \(self.maximumKeyBytes) bytes.")
        }
        guard key.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ self.isSegment($0) }) else {
            throw .invalid("A key is made of segments of A-Z a-z 0-9 _ . : - with slashes between; none is empty, . or ..")
        }
    }

    /// The beginning of a key, or what keys are compared with; it may be empty.
    public static func check(prefix: String) throws(ObjectError) {
        guard prefix.utf8.count <= self.maximumKeyBytes, prefix.utf8.allSatisfy({ self.isAllowed($0) || $0 == UInt8(ascii: "/") })
        else { throw .invalid("The beginning of a key is at most \(self.maximumKeyBytes) of A-Z a-z 0-9 _ . : - and /") }
    }

    public static func check(_ attributes: ObjectAttributes) throws(ObjectError) {
        guard !attributes.contentType.isEmpty, self.isPrintable(attributes.contentType) else {
            throw .invalid("A content type is printable ASCII.")
        }
        var bytes = 0
        for (name, value) in attributes.metadata {
            guard !name.isEmpty, name.utf8.allSatisfy({ self.isNameByte($0) }) else {
                throw .invalid("A name of metadata is made of a-z 0-9 -")
            }
            guard self.isPrintable(value) else { throw .invalid("A value of metadata is printable ASCII.") }
            bytes += name.utf8.count + value.utf8.count
        }
        guard bytes <= self.maximumMetadataBytes else {
            throw .invalid("Metadata has at most \(self.maximumMetadataBytes) bytes.")
        }
    }

    public static func check(linkSeconds seconds: Int) throws(ObjectError) {
        guard (1...self.maximumLinkSeconds).contains(seconds) else {
            throw .invalid("A link lives for 1 to \(self.maximumLinkSeconds) seconds.")
        }
    }

    /// The bytes of an object of this size that a range names.
    public static func clamp(_ range: Range<Int>?, size: Int) throws(ObjectError) -> Range<Int> {
        guard let range else { return 0..<size }
        guard range.lowerBound >= 0, !range.isEmpty, range.lowerBound < size else {
            throw .invalid("The object has no such part.")
        }
        return range.lowerBound..<min(range.upperBound, size)
    }

    /// Whether it may stand between two slashes of a key.
    public static func isSegment(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.allSatisfy { self.isAllowed($0) }
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "_.:-".utf8.contains(byte)
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"): true
        default: false
        }
    }

    private static func isPrintable(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }
}
