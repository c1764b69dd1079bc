import Synchronization

/// Faults that a test plants one at a time, to prove that it would notice them. A release build has none of them: every
/// place that asks is compiled in debug builds only.
public enum InjectedFault: UInt64, CaseIterable, Sendable {
    /// A gap in the bus's messages is passed over instead of being read from the store.
    case gapReadOff
    /// A subscriber whose place is lost goes on without a word.
    case resyncOff
    /// A page that does not begin right after the cursor is taken as it is.
    case pageCheckOff
    /// A cursor at the head is told before the snapshot that is due.
    case primeBeforeSnapshot
    /// Deleting a flow forgets its version.
    case tombstoneOff
    /// Events due in one turn are written in the wrong order.
    case batchReversed
    /// A slow subscriber loses what it could not take.
    case slowReaderSkips
    /// A replay does not stop where the live events begin.
    case replayOverlaps
    /// The cache keeps an older state over a newer one.
    case cacheGoesBack
    /// A write is acknowledged before it is committed.
    case earlyAcknowledgement

    private static let active = Atomic<UInt64>(0)

    private var bit: UInt64 { 1 << self.rawValue }

    public var isActive: Bool { Self.active.load(ordering: .relaxed) & self.bit != 0 }

    /// Plants exactly these faults. Only debug builds offer it.
    #if DEBUG
    public static func inject(_ faults: [InjectedFault]) {
        Self.active.store(faults.reduce(0) { $0 | $1.bit }, ordering: .relaxed)
    }
    #endif

    public init?(name: String) {
        guard let fault = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = fault
    }
}
