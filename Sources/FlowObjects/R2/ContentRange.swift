/// The value of a response's `Content-Range`, such as `bytes 5-9/100` (RFC 9110, section 14.4).
struct ContentRange: Hashable, Sendable {
    let bytes: Range<Int>
    /// Size of the whole object in bytes.
    let total: Int

    /// - Returns: `nil` if the value is invalid, or the size of the whole object is not given.
    init?(_ text: String) {
        guard text.hasPrefix("bytes ") else { return nil }
        let halves = text.dropFirst(6).split(separator: "/")
        guard halves.count == 2, let total = Int(halves[1]) else { return nil }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = Int(ends[0]), let last = Int(ends[1]), first >= 0, first <= last, last < total else {
            return nil
        }
        self.bytes = first..<last + 1
        self.total = total
    }
}
