/// One token of a JSON document. Ranges are byte ranges of the scanned input.
public enum JSONToken: Hashable, Sendable {
    case objectStart
    case objectEnd
    case arrayStart
    case arrayEnd
    /// A member's name, including its quotes; the member's value follows.
    case key(Range<Int>)
    /// A string value, including its quotes, with escapes as written.
    case string(Range<Int>)
    /// A number as written.
    case number(Range<Int>)
    case `true`
    case `false`
    case null
    /// The end of the document; only white space followed it.
    case end
}
