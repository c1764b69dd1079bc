import FlowCore

/// A bounded cache of the principals of verified tokens. The cache key is the whole token.
///
/// It has two generations. An entry that is used moves to the young one. When the young one is full, the old one is dropped
/// and the young one becomes the old one. This evicts entries that were not used for long, without an ordered list, and
/// lookup and insertion take constant time. Only valid tokens are inserted, so guessed tokens cannot evict others. (Strings
/// compare by Unicode equivalence; a string equivalent to a valid token, which is ASCII, still requires knowledge of the
/// whole token.)
struct TokenCache {
    private typealias Generation = [String: Principal]

    /// Limit of the tokens' bytes in both generations, in addition to ``capacity``: 10,000 tokens of 8 KiB would be 80 MiB.
    static let maximumBytes = 16 << 20

    private let capacity: Int
    private let maximumBytes: Int
    private var young: Generation = [:]
    private var old: Generation = [:]
    private var youngBytes = 0

    /// - Parameters:
    ///   - capacity: maximum number of tokens; each generation holds half of it, at least 1. 0 disables the cache.
    ///   - maximumBytes: limit of the tokens' bytes; half of it applies to each generation.
    init(capacity: Int, maximumBytes: Int = TokenCache.maximumBytes) {
        self.capacity = capacity
        self.maximumBytes = maximumBytes
    }

    /// The number of cached tokens.
    var count: Int { self.young.count + self.old.count }

    /// The principal of a token; `nil` if the token is not cached. Moves the token to the young generation.
    mutating func principal(for token: String) -> Principal? {
        if let principal = self.young[token] { return principal }
        guard let principal = self.old.removeValue(forKey: token) else { return nil }
        self.insert(principal, for: token)
        return principal
    }

    /// Caches a verified token. Ignores a token that is longer than half of the limit of bytes.
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

    /// Removes a token, if it is cached.
    mutating func remove(_ token: String) {
        if self.young.removeValue(forKey: token) != nil { self.youngBytes -= token.utf8.count }
        self.old.removeValue(forKey: token)
    }

    /// Removes all tokens.
    mutating func removeAll() {
        self.young = [:]
        self.old = [:]
        self.youngBytes = 0
    }
}
