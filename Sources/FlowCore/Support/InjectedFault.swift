import Synchronization

/// Deliberate defects for fault injection: a test activates them to prove that it detects them. Release builds contain none,
/// because every check of a fault is compiled in debug builds only.
public enum InjectedFault: UInt64, CaseIterable, Sendable {
    /// The sequencer skips missing versions instead of reading them from the store.
    case gapReadOff
    /// A subscriber whose position is lost is sent no resync.
    case resyncOff
    /// A history page is sent even if events between the cursor and the page are missing.
    case pageCheckOff
    /// A stream starts with an `id:` line although a snapshot is due. On a stream with one flow, the line has the version of
    /// the flow's head.
    case primeBeforeSnapshot
    /// Deleting a flow leaves no tombstone, so that its versions are assigned again.
    case tombstoneOff
    /// Events that are sent to subscribers in one write are written in reverse order.
    case batchReversed
    /// A slow subscriber skips the events that it was not sent while its socket was not writable.
    case slowReaderSkips
    /// A replay does not stop where the live events start, so an event is sent twice.
    case replayOverlaps
    /// The in-memory cache of flows replaces a newer state by an older one.
    case cacheGoesBack
    /// The client that sent a change is answered before the change is committed.
    case earlyAcknowledgement

    private static let active = Atomic<UInt64>(0)

    private var bit: UInt64 { 1 << self.rawValue }

    /// Whether ``inject(_:)`` has activated this fault.
    public var isActive: Bool { Self.active.load(ordering: .relaxed) & self.bit != 0 }

    /// Activates exactly these faults, for the whole process. Debug builds only.
    #if DEBUG
    public static func inject(_ faults: [InjectedFault]) {
        Self.active.store(faults.reduce(0) { $0 | $1.bit }, ordering: .relaxed)
    }
    #endif

    /// Finds a fault by its case name.
    /// - Returns: `nil` if no fault has this name.
    public init?(name: String) {
        guard let fault = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = fault
    }
}
