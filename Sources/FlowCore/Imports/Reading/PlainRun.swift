/// Copies text sixteen bytes at a time up to the first byte that needs a closer look.
///
/// Every access is checked against the spans' bounds.
enum PlainRun {
    /// Room behind what is to be copied without which the last bytes are left to the caller.
    static let overhang = 16

    /// Copies up to a quote, a backslash, a control byte, a byte of a character beyond ASCII, or `stop`. It ends earlier where fewer
    /// than sixteen bytes of input or of room are left.
    @inline(__always)
    static func copy(
        _ input: RawSpan, _ index: inout Int, into output: inout MutableSpan<UInt8>, _ written: inout Int,
        stop: UInt8 = JSONByte.quote
    ) {
        let quotes = SIMD16<Int8>(repeating: Int8(bitPattern: JSONByte.quote))
        let backslashes = SIMD16<Int8>(repeating: Int8(bitPattern: JSONByte.backslash))
        let stops = SIMD16<Int8>(repeating: Int8(bitPattern: stop))
        let spaces = SIMD16<Int8>(repeating: 0x20)
        var from = index
        var to = written
        while from + 16 <= input.byteCount, to + 16 <= output.count {
            let block = input.unsafeLoadUnaligned(fromByteOffset: from, as: SIMD16<Int8>.self)
            var bytes = output.mutableBytes
            bytes.storeBytes(of: block, toByteOffset: to, as: SIMD16<Int8>.self)
            // As signed numbers, control bytes and those beyond ASCII are below the space.
            let special = (block .== quotes) .| (block .== backslashes) .| (block .== stops) .| (block .< spaces)
            let halves = unsafeBitCast(special, to: SIMD2<UInt64>.self)
            if halves[0] | halves[1] != 0 {
                let plain = halves[0] != 0 ? halves[0].trailingZeroBitCount >> 3 : 8 + halves[1].trailingZeroBitCount >> 3
                from += plain
                to += plain
                break
            }
            from += 16
            to += 16
        }
        index = from
        written = to
    }
}
