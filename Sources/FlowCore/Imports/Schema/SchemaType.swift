/// The types of values that a schema analysis distinguishes.
enum SchemaType: Int, Hashable, Sendable, CaseIterable {
    case string
    /// A number that is written without fraction and exponent.
    case integer
    case number
    case boolean
    case object
    case array
    case null

    var name: String { "\(self)" }

    /// - Parameter value: valid JSON.
    init(of value: ArraySlice<UInt8>) {
        switch TypeCounts.Kind(startingWith: value.first ?? 0) {
        case .string: self = .string
        case .boolean: self = .boolean
        case .object: self = .object
        case .array: self = .array
        case .null: self = .null
        case .number:
            let isInteger = value.allSatisfy { JSONByte.isDigit($0) || $0 == UInt8(ascii: "-") }
            self = isInteger ? .integer : .number
        }
    }
}
