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
        /// Starts a new line, indented by the depth.
        func breakLine() {
            result.append(UInt8(ascii: "\n"))
            result.append(contentsOf: repeatElement(UInt8(ascii: " "), count: depth * 2))
        }
        /// Writes what precedes a key or value: a comma if it is not the first of its object or array, and a line break.
        func separate() {
            if isAfterKey {
                isAfterKey = false
            } else if depth > 0 {
                if !isOpening { result.append(UInt8(ascii: ",")) }
                breakLine()
            }
            isOpening = false
        }
        /// Writes a key, or a value other than an object or array.
        func value(_ text: some Sequence<UInt8>) {
            separate()
            result.append(contentsOf: text)
        }
        /// Writes the opening bracket of an object or array.
        func open(_ byte: UInt8) {
            separate()
            result.append(byte)
            depth += 1
            isOpening = true
        }
        /// Writes the closing bracket of an object or array, on a line of its own unless it is empty.
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
