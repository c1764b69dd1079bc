public import FlowCore
import Synchronization

/// The latest transients in memory: the last event of each of a few types per flow, for the most recently used flows.
public final class MemoryTransientStore: TransientStore {
    public struct Limits: Hashable, Sendable {
        /// Maximum number of flows with latest transients.
        public var flows = 10_000
        /// Limits of the latest transients of one flow.
        public var flow = TransientLimits()
        /// Maximum bytes of all flows together.
        public var bytes = 67_108_864
        /// Maximum age in seconds, measured from the flow's newest transient event. Older events are not returned.
        public var seconds: Int64 = 3_600

        public init() {}
    }

    private typealias Latest = LatestTransients<Void>

    /// One of 16 parts of the store behind its mutex. A class, because a mutex cannot be an element of an array.
    private final class Cell: Sendable {
        let flows: Mutex<ClockCache<FlowID, Latest>>

        init(_ flows: ClockCache<FlowID, Latest>) { self.flows = Mutex(flows) }
    }

    private static let shardCount = 16
    /// Estimated bytes of an event in addition to its data.
    private static let eventOverhead = 128
    /// Estimated bytes of a flow in addition to its events.
    private static let flowOverhead = 256

    private let limits: Limits
    private let cells: [Cell]

    public init(limits: Limits = .init()) {
        self.limits = limits
        let flows = max(1, limits.flows / Self.shardCount)
        let bytes = limits.bytes / Self.shardCount
        self.cells = (0..<Self.shardCount).map { _ in Cell(ClockCache(maximumEntries: flows, maximumCost: bytes)) }
    }

    /// Stores an event in place of the flow's earlier one of the same type.
    /// - Parameter version: the flow's version when the event was published.
    public func record(_ event: TransientEvent, of flow: FlowID, at version: Version) {
        let limits = self.limits.flow
        self.cell(of: flow).flows.withLock { flows in
            flows.update(flow, default: Latest()) { latest in
                latest.insert(event, at: version, (), limits: limits)
                return Self.flowOverhead + latest.bytes + latest.entries.count * Self.eventOverhead
            }
        }
    }

    /// The latest events that were published when the flow was at or above the version, without those older than the
    /// maximum age.
    public func latest(of flow: FlowID, since version: Version) async -> [TransientEvent] {
        let events = self.cell(of: flow).flows.withLock { $0.value(for: flow)?.entries ?? [] }
        guard let newest = events.map(\.event.createdAt).max() else { return [] }
        let oldest = newest.advanced(bySeconds: -self.limits.seconds)
        return events.filter { $0.version >= version && $0.event.createdAt >= oldest }.map(\.event)
    }

    /// Drops all events of all flows.
    public func removeAll() {
        for cell in self.cells { cell.flows.withLock { $0.removeAll() } }
    }

    /// The shard of the flow, selected by its hash.
    private func cell(of flow: FlowID) -> Cell { self.cells[flow.lane(of: Self.shardCount)] }
}
