/// A reproducible source of randomness (SplitMix64).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { self.state = seed }

    public mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var bits = self.state
        bits = (bits ^ (bits >> 30)) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ (bits >> 27)) &* 0x94d0_49bb_1331_11eb
        return bits ^ (bits >> 31)
    }

    /// A new generator for another task, so that its numbers do not depend on the progress of this one.
    public mutating func fork() -> SeededRandom { SeededRandom(seed: self.next()) }

    public mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    public mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    public mutating func any<Choice>(of choices: [Choice]) -> Choice { choices[Int.random(in: choices.indices, using: &self)] }

    /// - Parameter choices: the choices, each with its weight.
    public mutating func pick<Choice>(_ choices: [(Choice, Int)]) -> Choice {
        var remaining = Int.random(in: 0..<choices.reduce(0) { $0 + $1.1 }, using: &self)
        for (choice, weight) in choices {
            if remaining < weight { return choice }
            remaining -= weight
        }
        return choices[0].0
    }
}
