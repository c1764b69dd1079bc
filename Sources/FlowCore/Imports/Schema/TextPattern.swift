/// What a string says besides being a string. The first that fits counts.
enum TextPattern: Int, Hashable, Sendable, CaseIterable {
    /// `true`, `false`, `yes`, `no`, in any case.
    case boolean
    /// Of decimal digits, with a point and an exponent if at all. With zeros in front it is no number: those would get lost.
    case number
    /// A date of ISO 8601, with a time or without; or `31/12/2025`, `12/31/25`, `31.12.2025`, with a time or without.
    case date
    case uuid
    /// Version 4 or 6.
    case ipAddress
    case email
    /// `http`, `https`, `ftp`.
    case url

    var name: String {
        switch self {
        case .ipAddress: "ip_address"
        default: "\(self)"
        }
    }

    /// Longer texts have none: a URL may be that long.
    private static let maximumLength = 2_048

    /// - Parameter text: decoded, not empty.
    init?(of text: ArraySlice<UInt8>) {
        guard text.count <= Self.maximumLength, let first = text.first else { return nil }
        let scan = TextScan(text)
        switch first {
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            if scan.isNumber { self = .number } else if scan.isDate { self = .date } else { self.init(named: scan) }
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            if scan.isNumber { self = .number } else { self.init(named: scan) }
        default:
            if scan.isBoolean { self = .boolean } else { self.init(named: scan) }
        }
    }

    /// What may begin with a letter.
    private init?(named scan: TextScan) {
        if scan.isUUID {
            self = .uuid
        } else if scan.isIPAddress {
            self = .ipAddress
        } else if scan.isEmail {
            self = .email
        } else if scan.isURL {
            self = .url
        } else {
            return nil
        }
    }
}
