/// `Content-Disposition` of a file that a browser saves (RFC 6266).
enum ContentDisposition {
    /// Maximum bytes of a file name in UTF-8.
    private static let maximumBytes = 255

    /// The header value for a file name; always printable ASCII. In the quoted `filename`, `_` replaces each quotation
    /// mark, percent sign and character outside of printable ASCII. If any was replaced, the percent-encoded name follows
    /// as `filename*`. Path separators and control characters are `_` in both.
    /// - Returns: only `attachment` if the file name is empty.
    static func attachment(_ fileName: String) -> String {
        // A path separator or a control character in a file name could write to another folder or mislead the user.
        let name = String(
            String.UnicodeScalarView(
                fileName.unicodeScalars.map {
                    $0.properties.generalCategory == .control || "/\\".unicodeScalars.contains($0) ? "_" : $0
                }
            ))
        let short = Self.shortened(name)
        guard !short.isEmpty else { return "attachment" }
        let plain = short.unicodeScalars.map { (0x20...0x7e).contains($0.value) && !"\"%".unicodeScalars.contains($0) ? $0 : "_" }
        let fallback = String(String.UnicodeScalarView(plain))
        return "attachment; filename=\"\(fallback)\""
            + (fallback == short ? "" : "; filename*=UTF-8''\(PercentEncoding.encode(short))")
    }

    /// Shortens a name to 255 bytes of UTF-8, between characters.
    private static func shortened(_ name: String) -> String {
        var short = ""
        for character in name {
            guard short.utf8.count + character.utf8.count <= Self.maximumBytes else { break }
            short.append(character)
        }
        return short
    }
}
