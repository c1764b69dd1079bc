public import Logging
import Synchronization

/// The clock of this instance, which follows the clock of its store. So all instances of one store measure ages and expiry
/// alike, and a wrong clock of one machine removes nothing.
///
/// Between two comparisons with the store the clock advances with the monotonic clock. It follows the store's clock over
/// differences of up to ``tolerance``. A larger one is a jump: this instance keeps its time and removes nothing until the store's
/// clock has jumped back, or has stayed for ``jumpSeconds``. Then it follows.
///
/// The store's clock is the database's. The embedded store has none of its own: there the wall clock of the process is the
/// store's clock, and only its jumps are detected. Safe to use from any thread.
public final class HubClock: Sendable {
    fileprivate struct State {
        /// The hub's time minus the monotonic time, in milliseconds; `nil` before the first comparison.
        var offset: Int64?
        /// The monotonic time, in milliseconds, at which the store's clock was first found to have jumped.
        var jumpedAt: Int64?
        /// See ``HubClock/difference``.
        var difference: Int64 = 0
        /// Whether the last comparison failed, because the store could not be read or took too long.
        var isUnknown = true
        var differed = false
    }

    /// Maximum difference that counts as none, in milliseconds.
    public static let tolerance: Int64 = 2_000
    /// Seconds after which a jump of the store's clock is followed.
    public static let jumpSeconds: Int64 = 3_600
    /// Interval between two comparisons in seconds, after one that succeeded and after one that failed.
    private static let intervals = (10, 1)

    private let wall: @Sendable () -> Timestamp
    private let monotonic: @Sendable () -> Int64
    private let reference: @Sendable () async throws(StoreError) -> Timestamp
    private let logger: Logger
    private let state = Mutex(State())

    /// Creates the clock. Until the first comparison it shows the wall clock's time.
    /// - Parameters:
    ///   - wall: the wall clock of this machine.
    ///   - monotonic: milliseconds that never go back, from any zero.
    ///   - reference: the clock of the store.
    public init(
        wall: @escaping @Sendable () -> Timestamp, monotonic: @escaping @Sendable () -> Int64,
        reference: @escaping @Sendable () async throws(StoreError) -> Timestamp, logger: Logger
    ) {
        self.wall = wall
        self.monotonic = monotonic
        self.reference = reference
        self.logger = logger
    }

    /// The current time.
    public func now() -> Timestamp {
        guard let offset = self.state.withLock({ $0.offset }) else { return self.wall() }
        return Timestamp(milliseconds: self.monotonic() + offset)
    }

    /// By how many milliseconds the wall clock of this machine, or this instance's time, is ahead of the store's clock, as of the
    /// last comparison: whichever of the two differs more.
    public var difference: Int64 { self.state.withLock { $0.difference } }

    /// Whether ``difference`` exceeds ``tolerance``.
    public var differs: Bool { self.state.withLock { $0.differs } }

    /// Compares the clocks now.
    /// - Returns: the time of the store's clock; `nil` if the clocks differ or the store's clock cannot be read. Then nothing may
    ///   be removed by its age.
    @discardableResult
    public func compare() async -> Timestamp? {
        let sent = self.monotonic()
        guard let store = try? await self.reference() else { return self.fail() }
        let received = self.monotonic()
        // The answer is from some moment between the two. A slow one tells too little.
        guard received - sent <= Self.tolerance else { return self.fail() }
        let measured = store.milliseconds - (sent + received) / 2
        let wall = self.wall().milliseconds - received
        let (difference, change): (Int64, Bool?) = self.state.withLock { state in
            state.isUnknown = false
            state.follow(measured, at: received)
            let own = (state.offset ?? measured) - measured
            let machine = wall - measured
            state.difference = machine.magnitude > own.magnitude ? machine : own
            let change = state.differs == state.differed ? nil : state.differs
            state.differed = state.differs
            return (state.difference, change)
        }
        if let change { self.log(difference, differs: change) }
        return difference.magnitude > Self.tolerance.magnitude ? nil : store
    }

    /// Compares the clocks every 10 s, or every second while that fails, until the task is canceled.
    func run() async {
        while !Task.isCancelled {
            await self.compare()
            let interval = self.state.withLock { $0.isUnknown } ? Self.intervals.1 : Self.intervals.0
            do { try await Task.sleep(for: .seconds(interval)) } catch { return }
        }
    }

    private func fail() -> Timestamp? {
        self.state.withLock { $0.isUnknown = true }
        return nil
    }

    private func log(_ difference: Int64, differs: Bool) {
        if differs {
            self.logger.error(
                "Clock differs from the store's clock; nothing is removed by age until they agree. Set the clock of this machine",
                metadata: ["offset_seconds": "\(Double(difference) / 1_000)"])
        } else {
            self.logger.info("Clock agrees with the store's clock again")
        }
    }
}

extension HubClock.State {
    fileprivate var differs: Bool { self.difference.magnitude > HubClock.tolerance.magnitude }

    /// Sets the offset to a measured one, unless the store's clock has just jumped.
    fileprivate mutating func follow(_ measured: Int64, at moment: Int64) {
        guard let offset, (measured - offset).magnitude > HubClock.tolerance.magnitude else {
            self.offset = measured
            self.jumpedAt = nil
            return
        }
        let jumpedAt = self.jumpedAt ?? moment
        self.jumpedAt = jumpedAt
        guard moment - jumpedAt >= HubClock.jumpSeconds * 1_000 else { return }
        self.offset = measured
        self.jumpedAt = nil
    }
}
