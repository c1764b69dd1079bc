extension JSONText {
    /// The nesting depth: the maximum number of objects and arrays that are open at the same time; 0 for a scalar. Compared
    /// with ``ChangeLimits/maximumDepth``.
    public var depth: Int {
        var depth = 0
        var deepest = 0
        var isInString = false
        var isEscaped = false
        for byte in self.bytes {
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                deepest = max(deepest, depth)
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            default: break
            }
        }
        return deepest
    }
}
