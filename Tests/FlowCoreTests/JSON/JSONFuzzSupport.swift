import FlowCore

/// The random number generator SplitMix64: small, seeded, and the same on every machine.
struct JSONFuzzGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

    mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }

    mutating func pick<Element>(_ elements: [Element]) -> Element { elements[self.below(elements.count)] }
}

/// A document as a tree: the simple model with which the code that works on texts is compared.
///
/// Strings are UTF-8 bytes, because Swift's `String` treats some different names as equal.
indirect enum JSONTree: Hashable {
    struct Member: Hashable {
        var key: [UInt8]
        var value: JSONTree
    }

    case null
    case bool(Bool)
    case number(String)
    case string([UInt8])
    case array([JSONTree])
    case object([Member])

    /// Converts a text, using only the public API.
    init(_ text: JSONText) {
        if text.isObject {
            self = .object(text.members.map { Member(key: Array($0.key.utf8), value: JSONTree($0.value)) })
        } else if text.isArray {
            self = .array(text.elements.map(JSONTree.init))
        } else if let string = text.stringValue {
            self = .string(Array(string.utf8))
        } else if let bool = text.boolValue {
            self = .bool(bool)
        } else {
            self = text.isNull ? .null : .number(text.string)
        }
    }

    /// The value without the order and repetition of members, as `isEquivalent` compares it.
    var meaning: JSONMeaning {
        switch self {
        case .null: .null
        case .bool(let bool): .bool(bool)
        case .number(let number): .number(number)
        case .string(let string): .string(string)
        case .array(let elements): .array(elements.map(\.meaning))
        case .object(let members): .object(Dictionary(members.map { ($0.key, $0.value.meaning) }, uniquingKeysWith: { $1 }))
        }
    }
}

/// A document without the order of members, as in RFC 7396.
indirect enum JSONMeaning: Hashable {
    case null
    case bool(Bool)
    case number(String)
    case string([UInt8])
    case array([JSONMeaning])
    case object([[UInt8]: JSONMeaning])

    /// The algorithm of RFC 7396, section 2.
    func applying(_ patch: JSONMeaning) -> JSONMeaning {
        guard case .object(let changes) = patch else { return patch }
        var members: [[UInt8]: JSONMeaning] = [:]
        if case .object(let old) = self { members = old }
        for (key, value) in changes {
            members[key] = value == .null ? nil : (members[key] ?? .null).applying(value)
        }
        return .object(members)
    }
}
