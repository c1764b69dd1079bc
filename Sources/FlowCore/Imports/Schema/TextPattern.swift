/// The shape of a string, such as a date or an address. If several patterns match, a string has the first of them.
enum TextPattern: Int, Hashable, Sendable, CaseIterable {
    /// `true`, `false`, `yes` or `no`, in upper or lower case.
    case boolean
    /// A decimal number with an optional sign, fraction and exponent. A text with leading zeros does not match,
    /// because a number would lose them.
    case number
    /// A date by ISO 8601, or `31/12/2025`, `12/31/25` or `31.12.2025`; each with or without a time.
    case date
    /// A UUID with its hyphens, in upper or lower case.
    case uuid
    /// An address of IPv4 or IPv6.
    case ipAddress
    /// A mail address.
    case email
    /// A URL with the scheme `http`, `https` or `ftp`.
    case url

    /// The name in the JSON of the analysis.
    var name: String {
        switch self {
        case .ipAddress: "ip_address"
        default: "\(self)"
        }
    }

    /// Maximum bytes of a text that is examined, enough for most URLs. A longer text has no pattern.
    private static let maximumLength = 2_048

    /// The first pattern that a text matches.
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

    /// Checks for the patterns of identifiers and addresses: UUID, IP address, mail address and URL.
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
