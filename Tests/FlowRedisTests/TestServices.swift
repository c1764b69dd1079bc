import FlowCore
import FlowEmbedded
import FlowTestKit
import Foundation
import Logging
import Synchronization

@testable import FlowRedis

let logger: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
}()

let now: @Sendable () -> Timestamp = { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) }

let epoch = Epoch(counter: 36, random: "a")

final class CountingSequence: FencingSequence {
    private let last = Atomic<Int64>(0)

    func nextFencingToken() async throws(StoreError) -> Int64 { self.last.add(1, ordering: .relaxed).newValue }
}

func settings(_ url: String, root: String? = nil) throws -> RedisSettings {
    var settings = try RedisSettings(url: url)
    settings.authorities = root
    return settings
}

/// A settable epoch in place of a store's.
final class CurrentEpoch: Sendable {
    private let epoch = Mutex(FlowRedisTests.epoch)

    var value: Epoch { self.epoch.withLock { $0 } }
    func raise() { self.epoch.withLock { $0 = Epoch(counter: $0.counter + 1, random: "b") } }
}

/// Starts an instance's services, runs the body, and closes them.
func withServices<Result>(
    _ url: String, instance: String = "i", hub: String = "hub", root: String? = nil,
    epochs: CurrentEpoch = CurrentEpoch(), applier: ForeignUpdateApplier? = nil, waits: Bool = true,
    _ configure: (inout RedisServices.Configuration, inout RedisSettings) -> Void = { _, _ in },
    _ body: (RedisServices) async throws -> Result
) async throws -> Result {
    var configuration = RedisServices.Configuration()
    configuration.canaryMilliseconds = 100
    configuration.canaryTimeoutMilliseconds = 500
    var settings = try settings(url, root: root)
    configure(&configuration, &settings)
    let services = try RedisServices(
        settings, instance: instance, hubID: hub, configuration: configuration,
        counters: MemoryCounters(now: now), foreignMonitor: ForeignMessageMonitor(logger: logger), applier: applier,
        epoch: { epochs.value },
        now: now, logger: logger, onDelivery: { _ in })
    do {
        await services.start()
        if waits { try await eventually("the canary to return") { services.bus.isDelivering } }
        let result = try await body(services)
        await services.close()
        return result
    } catch {
        await services.close()
        throw error
    }
}

/// Records everything that a bus delivers.
final class RecordingSink: BusSink {
    struct Recorded {
        var messages: [BusMessage] = []
        var subscribed: [FlowID] = []
        var restored = 0
        var notifications: [PeerNotification] = []
        var backlog = 0
    }

    private let recorded = Mutex(Recorded())

    var backlog: Int { self.recorded.withLock { $0.backlog } }
    func set(backlog: Int) { self.recorded.withLock { $0.backlog = backlog } }
    var all: Recorded { self.recorded.withLock { $0 } }
    func received(_ messages: [BusMessage]) { self.recorded.withLock { $0.messages += messages } }
    func subscribed(to flow: FlowID) { self.recorded.withLock { $0.subscribed.append(flow) } }
    func deliveryChanged() { self.recorded.withLock { $0.restored += 1 } }
    func receivedNotification(_ notification: PeerNotification) {
        self.recorded.withLock { $0.notifications.append(notification) }
    }
}

func transient(_ flow: FlowID, _ data: String, type: String = "tick") throws -> BusMessage {
    guard let type = EventType(type) else { throw RedisError.unexpected }
    let event = TransientEvent(type: type, data: try JSONText(validating: Array(data.utf8)), createdAt: now())
    return BusMessage(flow: flow, account: "1", epoch: epoch, content: .transient(event))
}

func durable(_ flow: FlowID, _ version: Version, account: String = "1", payload: String = #"{"updates":{"n":1}}"#) throws
    -> BusMessage
{
    let at = Timestamp(milliseconds: 1_700_000_000_123)
    let event = FlowEvent(
        version: version, type: .stateUpdate, payload: try JSONText(validating: Array(payload.utf8)), createdAt: at)
    let head = FlowHead(
        flow: flow, account: account, version: version, status: .active, resetVersion: 0, updatedAt: at)
    return BusMessage(flow: flow, account: account, epoch: epoch, content: .durable(event, head: head))
}
