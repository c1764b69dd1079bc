extension String {
    /// The path of a request target: what precedes the `?`, percent-encoded as it was sent. Compares bytes, which costs a
    /// tenth of comparing characters.
    var targetPath: Substring { self[..<(self.utf8.firstIndex(of: UInt8(ascii: "?")) ?? self.endIndex)] }
}
