/// Gives each foreign message that an instance hears an identity that every other instance gives to it too. A value type without
/// I/O.
///
/// Redis gives a publication no number, and equal messages may be two publications. But it executes commands one after the
/// other, so all connections receive publications in the same order. Instances publish *marks* among them. A message's identity
/// is the last mark before it, its digest, and how many messages with this digest came between the two: each instance that heard
/// the mark and what followed counts the same.
struct PublicationIdentity {
    /// Number of different messages after a mark, at each multiple of which a new mark is due: it empties the counts.
    static let messagesPerMark = 4_096
    /// Maximum number of different messages that are counted after a mark. Above it, an equal message is no second publication.
    private static let maximumCounted = 65_536

    private var mark: String?
    /// Number of messages since the mark, by digest.
    private var counts: [String: Int] = [:]

    /// Whether a mark was heard, so that messages have an identity.
    var isMarked: Bool { self.mark != nil }

    /// Forgets the mark, because messages may have been missed.
    mutating func lost() {
        self.mark = nil
        self.counts = [:]
    }

    /// Records that a mark was heard.
    mutating func heard(mark: String) {
        self.mark = mark
        self.counts = [:]
    }

    /// Counts a message.
    /// - Returns: the identity of its publication, and whether a new mark is due; `nil` before the first mark.
    mutating func heard(digest: String) -> (identity: String, isMarkDue: Bool)? {
        guard let mark = self.mark else { return nil }
        let count = self.counts[digest] ?? 0
        guard count > 0 || self.counts.count < Self.maximumCounted else { return ("\(mark).\(digest).0", true) }
        self.counts[digest] = count + 1
        let isNew = count == 0
        return ("\(mark).\(digest).\(count)", isNew && self.counts.count.isMultiple(of: Self.messagesPerMark))
    }
}
