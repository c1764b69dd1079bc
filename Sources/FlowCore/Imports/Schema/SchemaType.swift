/// The types of values that a schema analysis distinguishes.
enum SchemaType: Int, Hashable, Sendable, CaseIterable {
    case string
    /// A number that is written without fraction and exponent.
    case integer
    /// A number that is written with a fraction or an exponent.
    case number
    case boolean
    case object
    case array
    case null

    /// The name in the JSON of the analysis.
    var name: String { "\(self)" }

    /// The type of a value.
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
