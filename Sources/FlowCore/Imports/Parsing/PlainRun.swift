/// Copies text sixteen bytes at a time up to the first byte that needs a closer look.
///
/// Every access is checked against the spans' bounds.
enum PlainRun {
    /// Room behind what is to be copied without which the last bytes are left to the caller.
    static let overhang = JSONPlainBlock.count

    /// Copies up to a quote, a backslash, a control byte, a byte of a character beyond ASCII, or `stop`. It ends earlier where fewer
    /// than sixteen bytes of input or of room are left.
    @inline(__always)
    static func copy(
        _ input: RawSpan, _ index: inout Int, into output: inout MutableSpan<UInt8>, _ written: inout Int,
        stop: UInt8 = JSONByte.quote
    ) {
        var from = index
        var to = written
        while from + JSONPlainBlock.count <= input.byteCount, to + JSONPlainBlock.count <= output.count {
            let block = input.unsafeLoadUnaligned(fromByteOffset: from, as: SIMD16<Int8>.self)
            var bytes = output.mutableBytes
            bytes.storeBytes(of: block, toByteOffset: to, as: SIMD16<Int8>.self)
            let plain = JSONPlainBlock.plainCount(block, stop: stop)
            from += plain
            to += plain
            if plain < JSONPlainBlock.count { break }
        }
        index = from
        written = to
    }
}
