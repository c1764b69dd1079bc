import FlowCore

extension JSONText {
    /// The JSON text, indented by two spaces per level. Numbers, escapes and the order of members are unchanged.
    var pretty: String {
        var scanner = JSONScanner(
            self.bytes, limits: JSONLimits(maximumDepth: JSONLimits.greatestDepth, maximumNumberLength: .max))
        var result: [UInt8] = []
        var depth = 0
        // The previous token decides which separator precedes the next one.
        var isOpening = true
        var isAfterKey = false
        func breakLine() {
            result.append(UInt8(ascii: "\n"))
            result.append(contentsOf: repeatElement(UInt8(ascii: " "), count: depth * 2))
        }
        func separate() {
            if isAfterKey {
                isAfterKey = false
            } else if depth > 0 {
                if !isOpening { result.append(UInt8(ascii: ",")) }
                breakLine()
            }
            isOpening = false
        }
        func value(_ text: some Sequence<UInt8>) {
            separate()
            result.append(contentsOf: text)
        }
        func open(_ byte: UInt8) {
            separate()
            result.append(byte)
            depth += 1
            isOpening = true
        }
        func close(_ byte: UInt8) {
            depth -= 1
            if !isOpening { breakLine() }
            result.append(byte)
            isOpening = false
        }
        while let token = try? scanner.next() {
            switch token {
            case .objectStart: open(UInt8(ascii: "{"))
            case .arrayStart: open(UInt8(ascii: "["))
            case .objectEnd: close(UInt8(ascii: "}"))
            case .arrayEnd: close(UInt8(ascii: "]"))
            case .key(let range):
                value(self.bytes[range])
                result.append(contentsOf: ": ".utf8)
                isAfterKey = true
            case .string(let range), .number(let range): value(self.bytes[range])
            case .true: value("true".utf8)
            case .false: value("false".utf8)
            case .null: value("null".utf8)
            case .end: return String(decoding: result, as: UTF8.self)
            }
        }
        return self.string
    }
}
