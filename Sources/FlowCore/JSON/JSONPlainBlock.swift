/// Classifies 16 bytes of text with one vector operation.
enum JSONPlainBlock {
    /// Number of bytes in a block.
    static let count = 16

    /// Number of bytes at the start of a block that are plain, see ``JSONByte/isPlain(_:)``.
    /// - Parameter stop: one more byte that counts as not plain.
    @inline(__always)
    static func plainCount(_ block: SIMD16<Int8>, stop: UInt8 = JSONByte.quote) -> Int {
        // As signed numbers, control bytes and non-ASCII bytes are below the space.
        let special =
            (block .== Self.all(JSONByte.quote)) .| (block .== Self.all(JSONByte.backslash)) .| (block .== Self.all(stop))
            .| (block .< Self.all(0x20))
        let halves = unsafeBitCast(special, to: SIMD2<UInt64>.self)
        if halves[0] | halves[1] == 0 { return Self.count }
        return halves[0] != 0 ? halves[0].trailingZeroBitCount >> 3 : 8 + halves[1].trailingZeroBitCount >> 3
    }

    /// A vector with this byte in each of its 16 lanes.
    @inline(__always)
    private static func all(_ byte: UInt8) -> SIMD16<Int8> { SIMD16(repeating: Int8(bitPattern: byte)) }
}
