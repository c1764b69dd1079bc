/// How long to wait between the attempts of a transfer, and when it is enough.
struct RetryBackoff {
    /// In all, the first one included.
    static let attempts = 5
    /// A hub that asks for more patience, in seconds, is not waited for.
    static let longestWait = 60

    private var made = 1
    /// Milliseconds: the next wait is this to twice as long.
    private var pause: Int

    init(firstPause milliseconds: Int = 500) { self.pause = milliseconds }

    /// - Returns: `nil` when there is to be no other attempt.
    mutating func next(afterSeconds: Int?) -> Duration? {
        let asked = max(afterSeconds ?? 0, 0)
        guard self.made < Self.attempts, asked <= Self.longestWait else { return nil }
        self.made += 1
        let wait = max(self.pause + Int.random(in: 0...self.pause), asked * 1_000)
        self.pause *= 2
        return .milliseconds(wait)
    }
}
