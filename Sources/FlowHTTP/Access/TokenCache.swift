import FlowCore

/// Principals of verified tokens, by the whole token, in bounded memory.
///
/// Two generations: what is used moves to the young one; when that is full the old one is dropped and the young one takes its
/// place. So what was not used for long goes, without a list to keep in order, and looking up and adding cost the same
/// however many there are. Only good tokens come in: guessing cannot push others out. (Strings are equal by Unicode's
/// equivalence; what is equal to a good token, which is ASCII, still takes the whole token to know.)
struct TokenCache {
    private typealias Generation = [String: Principal]

    /// Bytes of tokens in both generations, whatever ``capacity`` would allow: 10,000 tokens of 8 KiB would be 80 MiB.
    static let maximumBytes = 16 << 20

    private let capacity: Int
    private let maximumBytes: Int
    private var young: Generation = [:]
    private var old: Generation = [:]
    private var youngBytes = 0

    /// - Parameter capacity: how many tokens are kept at most (1 counts as 2); 0 keeps none.
    init(capacity: Int, maximumBytes: Int = TokenCache.maximumBytes) {
        self.capacity = capacity
        self.maximumBytes = maximumBytes
    }

    var count: Int { self.young.count + self.old.count }

    mutating func principal(for token: String) -> Principal? {
        if let principal = self.young[token] { return principal }
        guard let principal = self.old.removeValue(forKey: token) else { return nil }
        self.insert(principal, for: token)
        return principal
    }

    mutating func insert(_ principal: Principal, for token: String) {
        guard self.capacity > 0 else { return }
        let size = token.utf8.count
        guard size <= self.maximumBytes / 2 else { return }
        if self.young[token] == nil {
            if self.young.count >= max(1, self.capacity / 2) || self.youngBytes + size > self.maximumBytes / 2 {
                self.old = self.young
                self.young = [:]
                self.youngBytes = 0
            }
            self.youngBytes += size
        }
        self.old.removeValue(forKey: token)
        self.young[token] = principal
    }

    mutating func remove(_ token: String) {
        if self.young.removeValue(forKey: token) != nil { self.youngBytes -= token.utf8.count }
        self.old.removeValue(forKey: token)
    }

    mutating func removeAll() {
        self.young = [:]
        self.old = [:]
        self.youngBytes = 0
    }
}
