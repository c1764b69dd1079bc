/// Which flows a token is for: one id, or every id that begins with a prefix (`import-*`; `*` alone is every flow).
///
/// A pattern is 1 to 128 bytes of the ids' allow-list, with at most one `*`, at its end. Nothing else is a pattern: there is
/// no way to write one that looks narrow and is wide.
public struct FlowPattern: Hashable, Sendable, CustomStringConvertible {
    /// Every flow.
    public static let all = FlowPattern(stem: "", isPrefix: true)

    private let stem: String
    private let isPrefix: Bool

    /// - Returns: `nil` if the text is neither an id nor a prefix with `*`.
    public init?(_ text: String) {
        let bytes = text.utf8
        guard bytes.last == UInt8(ascii: "*") else {
            guard Identifier.isValid(bytes, maximumLength: FlowID.maximumLength) else { return nil }
            self.init(stem: text, isPrefix: false)
            return
        }
        let stem = bytes.dropLast()
        // `.` and `..` are no ids, but ids may begin with them; so a letter is put behind before the allow-list is asked.
        guard stem.count < FlowID.maximumLength,
            Identifier.isValid(Array(stem) + [UInt8(ascii: "a")], maximumLength: FlowID.maximumLength)
        else { return nil }
        self.init(stem: String(decoding: stem, as: UTF8.self), isPrefix: true)
    }

    private init(stem: String, isPrefix: Bool) {
        self.stem = stem
        self.isPrefix = isPrefix
    }

    public func matches(_ flow: FlowID) -> Bool {
        // By bytes: both sides are ASCII by their allow-list, and no Unicode equivalence may widen a right.
        self.isPrefix ? flow.rawValue.utf8.starts(with: self.stem.utf8) : flow.rawValue.utf8.elementsEqual(self.stem.utf8)
    }

    /// The pattern as it was written.
    public var description: String { self.isPrefix ? self.stem + "*" : self.stem }
}
