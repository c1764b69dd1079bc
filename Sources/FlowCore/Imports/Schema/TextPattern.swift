/// The shape of a string, such as a date or an address. The first pattern that matches counts.
enum TextPattern: Int, Hashable, Sendable, CaseIterable {
    /// `true`, `false`, `yes` or `no`, in upper or lower case.
    case boolean
    /// A decimal number with an optional sign, fraction and exponent. Not with leading zeros, because these would be
    /// lost in a number.
    case number
    /// A date by ISO 8601, or `31/12/2025`, `12/31/25` or `31.12.2025`; each with or without a time.
    case date
    case uuid
    /// An address of IPv4 or IPv6.
    case ipAddress
    case email
    /// A URL with the scheme `http`, `https` or `ftp`.
    case url

    var name: String {
        switch self {
        case .ipAddress: "ip_address"
        default: "\(self)"
        }
    }

    /// Maximum bytes of a text that is examined, enough for most URLs. A longer text has no pattern.
    private static let maximumLength = 2_048

    /// The pattern of a text.
    /// - Parameter text: decoded, not empty.
    /// - Returns: `nil` if no pattern matches.
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

    /// Checks for the patterns of identifiers and addresses.
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
