import FlowCore
import Logging
import NIOCore

@testable import FlowHTTP

/// The ports that streams use, with at most one flow.
struct EmptyHub: FlowStore, StateCache, TransientStore, EventBus, Counters, ConnectionRegistry {
    let epoch: Epoch
    var stored: FlowRecord?

    func apply(_ change: FlowChange) async throws(StoreError) -> FlowOutcome { throw .unavailable("empty") }
    func observeCommits(_ observer: @escaping @Sendable ([Commit]) -> Void) {}
    func load(_ flow: FlowID) async throws(StoreError) -> FlowRecord? { self.stored }
    func page(of flow: FlowID, after: Version, limit: PageLimit) async throws(StoreError) -> EventPage {
        EventPage(head: nil, events: [])
    }
    func heads(of flows: [FlowID]) async throws(StoreError) -> [FlowHead] { [] }
    func list(_ query: FlowQuery) async throws(StoreError) -> FlowList { FlowList(flows: [], hasMore: false) }
    func finished(before moment: Timestamp, limit: Int) async throws(StoreError) -> [FlowHead] { [] }
    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int { 0 }
    func probeWrite() async throws(StoreError) {}
    func refreshEpoch() async throws(StoreError) -> Epoch { self.epoch }
    func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch { self.epoch }

    func flow(_ flow: FlowID, atLeast: Version) -> CachedFlow? { nil }
    func put(_ record: FlowRecord, epoch: Epoch, readAt: ContinuousClock.Instant?) -> Bool { true }
    func compare(_ flow: FlowID, with version: Version, epoch: Epoch, at instant: ContinuousClock.Instant) {}
    func advance(to epoch: Epoch) {}
    func versions() -> [FlowID: Version] { [:] }

    func record(_ event: TransientEvent, of flow: FlowID, at version: Version) {}
    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent] { [] }
    func removeAll() {}

    func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {}
    func attach(_ sink: any BusSink) {}
    func subscribe(to flow: FlowID) {}
    func unsubscribe(from flow: FlowID) {}
    var isDelivering: Bool { true }

    func add(_ amount: Int, to counter: Counter) {}
    func totals() -> [Counter: Int] { [:] }

    func register(_ entries: [ConnectionEntry]) async {}
    func usage(of account: String) async throws(StoreError) -> AccountUsage { AccountUsage() }
    func highestUsage() async throws(StoreError) -> AccountUsage { AccountUsage() }
    func unregister(_ entries: [ConnectionEntry]) async {}
    func connections(of flow: FlowID) async -> [ConnectionEntry] { [] }
    func count(of flow: FlowID, account: String) -> Int { 0 }
    func disconnect(_ connection: ConnectionID, account: String?) async -> Bool { false }
    func onDisconnectRequest(_ disconnect: @escaping @Sendable (ConnectionID) -> Void) {}
}

extension StreamServices {
    /// Services of a hub with at most one flow.
    /// - Parameters:
    ///   - work: receives the operations of ``perform(_:)``. `nil`: they are never run.
    ///   - registryChanges: receives the changes of the connection registry.
    static func empty(
        epoch: Epoch, stored: FlowRecord? = nil, configuration: StreamConfiguration = StreamConfiguration(),
        work: AsyncStream<@Sendable () async -> Void>.Continuation? = nil,
        registryChanges: AsyncStream<[RegistryChange]>.Continuation? = nil
    ) -> StreamServices {
        let hub = EmptyHub(epoch: epoch, stored: stored)
        let health = HubHealth()
        return StreamServices(
            instance: "i", configuration: configuration,
            manager: StateManager(store: hub, cache: hub, transients: hub, bus: hub, counters: hub, health: health) { _ in },
            table: WatchTable(bus: hub, epoch: epoch) { _ in }, registry: hub, health: health, leewaySeconds: 0,
            now: { Timestamp(milliseconds: 0) }, logger: Logger(label: "test"),
            work: work ?? AsyncStream.makeStream().continuation,
            registryChangeContinuation: registryChanges ?? AsyncStream.makeStream().continuation,
            feedMembershipContinuation: AsyncStream.makeStream().continuation)
    }
}

/// A stream output that records what is written.
final class RecordedOutput: StreamOutput {
    private(set) var text = ""
    private(set) var rejection: StreamRejection?
    private(set) var hasEnded = false
    private(set) var ending: String?

    var isWritable: Bool { true }
    var queuedBytes: Int { 0 }
    func startResponse() {}
    func reject(_ rejection: StreamRejection) { self.rejection = rejection }
    func write(_ block: StreamBlock) { self.text += String(buffer: block.payload) }
    func send(_ block: StreamBlock) { self.write(block) }
    func flush() {}

    /// The text that was written since the last call.
    func take() -> String {
        defer { self.text = "" }
        return self.text
    }

    func finish() { self.hasEnded = true }
    func abort() { self.hasEnded = true }
    func ended(_ ending: StreamEnding) { self.ending = ending.name }
}

/// The sink of an event loop that has not processed its deliveries yet.
struct LaggingDeliverySink: DeliverySink {
    func deliver(_ delivery: Delivery) {}
}
