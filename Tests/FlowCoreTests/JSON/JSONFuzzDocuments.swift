/// Generates random documents and writes them with random spelling.
struct JSONFuzzDocuments {
    var random: JSONFuzzGenerator

    /// Whether an object may have two members with the same name.
    var repeatsKeys = true

    private static let frequentKeys = ["a", "b", "c", "d", "\u{E9}", "e\u{301}"]

    private static let scalarRanges: [ClosedRange<UInt32>] = [
        0x20...0x7E, 0x20...0x7E, 0...0x1F, 0x80...0x7FF, 0x2020...0x2030, 0x800...0xD7FF, 0xE000...0xFFFF,
        0x10000...0x10FFFF,
    ]

    private static let shortEscapes: [Unicode.Scalar: String] = [
        "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u{8}": "\\b", "\u{C}": "\\f", "\"": "\\\"", "\\": "\\\\", "/": "\\/",
    ]

    private static let mutations =
        Array("{}[]\",:\\u0123456789eE+-.tfn \n/dDcC".utf8) + [0, 0x1F, 0x7F, 0x80, 0xC3, 0xE2, 0xED, 0xA0, 0xF0, 0xFF]

    init(seed: UInt64) { self.random = JSONFuzzGenerator(seed: seed) }

    mutating func tree(depth: Int = 5) -> JSONTree {
        switch self.random.below(depth > 0 ? 10 : 6) {
        case 0: return .null
        case 1: return .bool(self.random.chance(50))
        case 2, 3: return .number(self.number())
        case 4, 5: return .string(self.string())
        case 6, 7: return .array((0..<self.random.below(5)).map { _ in self.tree(depth: depth - 1) })
        default: return self.object(depth: depth)
        }
    }

    mutating func object(depth: Int = 5) -> JSONTree {
        var members: [JSONTree.Member] = []
        // Sometimes many members, so that the hashed index is used.
        for _ in 0..<(self.random.chance(5) ? 20 : self.random.below(6)) {
            let key = self.random.chance(70) ? Array(self.random.pick(Self.frequentKeys).utf8) : self.string()
            // Compared as Swift strings, as in the dictionaries of Foundation.
            let text = String(decoding: key, as: UTF8.self)
            if !self.repeatsKeys, members.contains(where: { String(decoding: $0.key, as: UTF8.self) == text }) { continue }
            members.append(JSONTree.Member(key: key, value: self.tree(depth: depth - 1)))
        }
        return .object(members)
    }

    private mutating func number() -> String {
        let integer = self.random.chance(30) ? "0" : String(self.random.below(self.random.pick([10, 1000, .max])))
        var text = (self.random.chance(30) ? "-" : "") + integer
        if self.random.chance(30) { text += "." + String(self.random.below(100_000)) }
        if self.random.chance(20) {
            text += self.random.pick(["e", "E"]) + self.random.pick(["", "+", "-"]) + String(self.random.below(100))
        }
        return text
    }

    private mutating func string() -> [UInt8] {
        var scalars = String.UnicodeScalarView()
        for _ in 0..<self.random.below(8) {
            let value = UInt32.random(in: self.random.pick(Self.scalarRanges), using: &self.random)
            scalars.append(Unicode.Scalar(value) ?? "x")
        }
        return Array(String(scalars).utf8)
    }

    /// - Parameter loose: whether to add white space and unnecessary escapes.
    mutating func spelled(_ tree: JSONTree, loose: Bool = true) -> [UInt8] {
        var output: [UInt8] = []
        self.write(tree, loose, &output)
        return output
    }

    private mutating func write(_ tree: JSONTree, _ loose: Bool, _ output: inout [UInt8]) {
        self.space(loose, &output)
        switch tree {
        case .null: output += Array("null".utf8)
        case .bool(let bool): output += Array(String(bool).utf8)
        case .number(let number): output += Array(number.utf8)
        case .string(let string): self.write(string, loose, &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                self.write(element, loose, &output)
            }
            if elements.isEmpty { self.space(loose, &output) }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                self.space(loose, &output)
                self.write(member.key, loose, &output)
                self.space(loose, &output)
                output.append(UInt8(ascii: ":"))
                self.write(member.value, loose, &output)
            }
            output.append(UInt8(ascii: "}"))
        }
        self.space(loose, &output)
    }

    private mutating func space(_ loose: Bool, _ output: inout [UInt8]) {
        while loose, self.random.chance(20) { output.append(self.random.pick([0x20, 0x0A, 0x0D, 0x09])) }
    }

    private mutating func write(_ string: [UInt8], _ loose: Bool, _ output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for scalar in String(decoding: string, as: UTF8.self).unicodeScalars {
            let needsEscape = scalar.value < 0x20 || scalar == "\"" || scalar == "\\"
            if let escape = Self.shortEscapes[scalar], needsEscape || loose && self.random.chance(50) {
                output += Array(escape.utf8)
            } else if needsEscape || loose && self.random.chance(20) {
                for unit in UTF16.encode(scalar) ?? .init() {
                    let digits = String(unit, radix: 16, uppercase: loose && self.random.chance(50))
                    output += Array(("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).utf8)
                }
            } else {
                output += Array(scalar.utf8)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// One to three small changes.
    mutating func mutated(_ document: [UInt8]) -> [UInt8] {
        var bytes = document
        for _ in 0...self.random.below(3) {
            let index = self.random.below(bytes.count + 1)
            switch self.random.below(5) {
            case 0: bytes.insert(self.random.pick(Self.mutations), at: index)
            case 1 where index < bytes.count: bytes[index] = self.random.pick(Self.mutations)
            case 2 where index < bytes.count: bytes.remove(at: index)
            case 3 where index < bytes.count: bytes[index] ^= 1 << UInt8(self.random.below(8))
            default: bytes.removeSubrange(index..<min(bytes.count, index + self.random.below(4)))
            }
        }
        return bytes
    }

    mutating func noise() -> [UInt8] {
        let alphabet = Array("{}[]\",:\\u0123456789eE+-.truefalsn \n".utf8)
        let isText = self.random.chance(80)
        return (0..<self.random.below(12)).map { _ in isText ? self.random.pick(alphabet) : UInt8(self.random.below(256)) }
    }
}
