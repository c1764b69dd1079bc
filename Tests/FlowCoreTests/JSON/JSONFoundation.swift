import FlowCore
import Foundation

/// Foundation's JSON parser, and where it is known to differ from RFC 8259 or from the hub's limits.
enum JSONFoundation {
    static func read(_ bytes: [UInt8]) throws -> Any {
        try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
    }

    /// Whether the input has a feature in which Foundation differs from RFC 8259, so that its result proves nothing:
    /// - it detects UTF-16 and UTF-32 from a byte order mark or from a NUL among the first four bytes;
    /// - it accepts a comma before a closing bracket;
    /// - it drops a byte order mark at the start of a string;
    /// - it accepts numbers beyond a double's range, which are recognized here by the hub's own error.
    static func isKnownToDiffer(_ bytes: [UInt8]) -> Bool {
        if bytes.prefix(4).contains(0) || [0xFE, 0xFF].contains(bytes.first) { return true }
        if zip(bytes, bytes.dropFirst()).contains(where: { $0 == 0xEF && $1 == 0xBB }) { return true }
        if Self.isBeyondADouble(bytes) { return true }
        let dense = bytes.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        return zip(dense, dense.dropFirst()).contains { $0 == UInt8(ascii: ",") && [0x5D, 0x7D].contains($1) }
    }

    private static func isBeyondADouble(_ bytes: [UInt8]) -> Bool {
        do throws(JSONError) {
            _ = try JSONText(validating: bytes)
            return false
        } catch {
            return error.code == .invalidNumber
        }
    }

    /// Whether Foundation's value equals the text's value.
    static func agrees(_ value: Any, _ text: JSONText) -> Bool {
        switch value {
        case is NSNull:
            return text.isNull
        case let object as [String: Any]:
            let members = text.members
            return text.isObject && object.count == members.count
                && members.allSatisfy { member in object[member.key].map { Self.agrees($0, member.value) } ?? false }
        case let array as [Any]:
            let elements = text.elements
            return text.isArray && array.count == elements.count && zip(array, elements).allSatisfy { Self.agrees($0, $1) }
        case let string as String:
            return text.stringValue.map { Array($0.utf8) } == Array(string.utf8)
        case let number as NSNumber:
            if let bool = text.boolValue { return number.boolValue == bool }
            if let integer = text.intValue, number.int64Value == integer { return true }
            // Foundation parses a long fraction as a `Decimal`, which differs in the last digits.
            guard let double = text.doubleValue else { return false }
            return abs(double - number.doubleValue) <= abs(double) * 1e-9
        default:
            return false
        }
    }
}
