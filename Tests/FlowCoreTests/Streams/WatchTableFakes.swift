import FlowCore
import Logging
import Synchronization

final class FakeBus: EventBus {
    struct State {
        var subscribed: [FlowID] = []
        var unsubscribed: [FlowID] = []
        var published: [BusMessage] = []
    }

    let state = Mutex(State())

    func publish(_ messages: [BusMessage], onAccepted: (@Sendable () -> Void)?) {
        self.state.withLock { $0.published += messages }
        onAccepted?()
    }
    func attach(_ sink: any BusSink) {}
    func subscribe(to flow: FlowID) { self.state.withLock { $0.subscribed.append(flow) } }
    func unsubscribe(from flow: FlowID) { self.state.withLock { $0.unsubscribed.append(flow) } }
    var isDelivering: Bool { true }
}

/// A sink that records its deliveries as text.
final class FakeDeliverySink: DeliverySink {
    private let log = Mutex<[String]>([])

    func deliver(_ delivery: Delivery) {
        let text =
            switch delivery {
            case .opened(let flow, _, let head, let epoch, let last):
                "\(flow) opened \(head?.version ?? -1) \(epoch) +\(last.count)"
            case .events(let flow, let frames, let head):
                "\(flow) events \(frames.map { Int($0.version) }) head \(head.map { Int($0.version) } ?? -1)"
            case .transient(let flow, let account, let event, _): "\(flow) \(event.type) of \(account)"
            case .reset(let epoch): "reset \(epoch)"
            case .status(let status): "status \(status.rawValue)"
            case .revoked: "revoked"
            }
        self.log.withLock { $0.append(text) }
    }

    /// The deliveries since the last call.
    func newDeliveries() -> [String] {
        self.log.withLock { log in
            defer { log = [] }
            return log
        }
    }
}

/// A watch table with two fake sinks and a fake bus.
final class TableFixture: Sendable {
    let bus = FakeBus()
    let sinks = [FakeDeliverySink(), FakeDeliverySink()]
    let table: WatchTable
    let foreignMonitor = ForeignMessageMonitor(logger: Logger(label: "test"))
    private let requests: Requests

    private final class Requests: Sendable {
        let items = Mutex<[String]>([])
    }

    init() {
        let requests = Requests()
        self.requests = requests
        self.table = WatchTable(bus: self.bus, epoch: Sample.epoch, foreignMonitor: self.foreignMonitor) { work in
            let text =
                switch work {
                case .open(let flow, _): "open \(flow)"
                case .page(let flow, let after, _): "page \(flow) \(after)"
                case .sweep: "sweep"
                case .revocations: "revocations"
                }
            requests.items.withLock { $0.append(text) }
        }
        self.table.attach(self.sinks)
    }

    /// The work items that the table has enqueued since the last call, as text.
    func work() -> [String] {
        self.requests.items.withLock { items in
            defer { items = [] }
            return items
        }
    }

    /// Watches a flow from the first sink, opens it at this version, and discards the resulting work items and deliveries.
    func open(_ flow: FlowID = Sample.flow, at version: Version) {
        self.table.watch(flow, sink: 0)
        self.table.subscribed(to: flow)
        self.table.opened(flow, version > 0 ? Sample.record(version, of: flow) : nil, last: [], epoch: Sample.epoch)
        _ = self.work()
        _ = self.sinks[0].newDeliveries()
    }

    static func message(
        _ version: Version, of flow: FlowID = Sample.flow, head: Version? = nil, epoch: Epoch = Sample.epoch
    ) -> BusMessage {
        BusMessage(
            flow: flow, account: "1", epoch: epoch,
            content: .durable(Sample.event(version), head: Sample.head(head ?? version, of: flow)))
    }
}
