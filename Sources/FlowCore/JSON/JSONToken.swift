/// One token of a JSON document. Ranges are byte ranges of the scanned input.
public enum JSONToken: Hashable, Sendable {
    case objectStart
    case objectEnd
    case arrayStart
    case arrayEnd
    /// A member's name, quotes included; its value follows.
    case key(Range<Int>)
    /// A string value, quotes included, escapes as written.
    case string(Range<Int>)
    /// A number as written.
    case number(Range<Int>)
    case `true`
    case `false`
    case null
    /// The document is complete and nothing but white space followed it.
    case end
}
