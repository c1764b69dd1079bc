/// The open objects and arrays (containers) of a JSON document, one bit each: 1 for an object, 0 for an array. It needs
/// no heap memory and is cheap to copy.
struct JSONNesting: Sendable {
    /// Number of open containers.
    private(set) var depth = 0

    /// The bits of up to 64 innermost containers, that of the innermost one in the lowest bit. When all 64 bits are in use,
    /// the next container to open moves them to `outer`.
    private var inner: UInt64 = 0
    /// The bits of the containers outside of `inner`, 64 in each word, the outermost ones in the first word.
    private var outer: InlineArray<8, UInt64> = .init(repeating: 0)

    /// Whether the innermost container is an object. Valid only while a container is open.
    @inline(__always)
    var isObject: Bool { self.inner & 1 == 1 }

    /// Adds an innermost container: an object, or an array if `object` is `false`. The caller ensures that at most
    /// ``JSONLimits/greatestDepth`` are open.
    @inline(__always)
    mutating func open(object: Bool) {
        if self.depth > 0, self.depth & 63 == 0 { self.outer[self.depth >> 6 - 1] = self.inner }
        self.inner = self.inner << 1 | (object ? 1 : 0)
        self.depth += 1
    }

    /// Removes the innermost container. Valid only while a container is open.
    @inline(__always)
    mutating func close() {
        self.inner >>= 1
        self.depth -= 1
        if self.depth > 0, self.depth & 63 == 0 { self.inner = self.outer[self.depth >> 6 - 1] }
    }
}
