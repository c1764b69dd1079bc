import FlowCore

/// The rules of ``ObjectStore`` for what it is given.
enum ObjectKey {
    private static let maximumBytes = 1_024
    private static let maximumMetadataBytes = 2_048

    static func check(_ key: String) throws(ObjectError) {
        guard (1...Self.maximumBytes).contains(key.utf8.count), key.utf8.allSatisfy({ Self.isAllowed($0) || $0 == 0x2f }) else {
            throw .invalid("A key is 1 to 1024 of A-Z a-z 0-9 _ . : - and slashes.")
        }
        let segments = key.split(separator: "/", omittingEmptySubsequences: false)
        guard segments.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else {
            throw .invalid("A key's segments are not empty, and not . or .. .")
        }
    }

    /// The beginning of a key; empty means all.
    static func check(prefix: String) throws(ObjectError) {
        guard prefix.utf8.count <= Self.maximumBytes, prefix.utf8.allSatisfy({ Self.isAllowed($0) || $0 == 0x2f }) else {
            throw .invalid("A prefix is at most 1024 of A-Z a-z 0-9 _ . : - and slashes.")
        }
    }

    static func check(_ attributes: ObjectAttributes) throws(ObjectError) {
        guard Self.isPrintable(attributes.contentType), !attributes.contentType.isEmpty else {
            throw .invalid("A content type is printable ASCII.")
        }
        var bytes = 0
        for (name, value) in attributes.metadata {
            guard !name.isEmpty, name.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d })
            else { throw .invalid("Names of metadata are of a-z 0-9 - .") }
            guard Self.isPrintable(value) else { throw .invalid("Values of metadata are printable ASCII.") }
            bytes += name.utf8.count + value.utf8.count
        }
        guard bytes <= Self.maximumMetadataBytes else { throw .invalid("Metadata has at most 2048 bytes.") }
    }

    private static func isPrintable(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20...0x7e).contains($0) } }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        default: "_.:-".utf8.contains(byte)
        }
    }
}
