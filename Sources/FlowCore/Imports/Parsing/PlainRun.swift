/// Copies text in blocks of 16 bytes, up to the first byte that needs special handling.
///
/// Every access is checked against the bounds of the spans.
enum PlainRun {
    /// Number of free bytes that the output must have beyond the text to copy. With fewer, the end of the text is not
    /// copied in blocks and is left to the caller.
    static let overhang = JSONPlainBlock.count

    /// Copies up to a quote, a backslash, a control byte, a non-ASCII byte, or `stop`. It stops earlier if fewer than
    /// 16 bytes of the input, or of room in the output, are left.
    /// - Parameters:
    ///   - index: index in the input of the first byte to copy; afterwards, of the first byte that was not copied.
    ///   - written: index in the output of the first free byte; afterwards, after the copied text.
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
