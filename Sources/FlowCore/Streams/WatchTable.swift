import Synchronization

/// The flows that somebody on this instance watches: one ``Sequencer`` each, between the bus and the event loops.
///
/// Decisions are made under a lock that a flow shares with a sixteenth of the others. Frames are handed to the outlets
/// under it as well: that only appends to a queue, and it is what keeps one flow's deliveries in order.
public final class WatchTable: BusSink {
    /// A watched flow. Confined to its stripe's lock.
    private final class Watch {
        var sequencer = Sequencer()
        var outlets: [Int]
        /// The history that the sequencer follows.
        let epoch: Epoch
        /// Outlets that were not given ``Delivery/opened(_:_:epoch:last:)`` yet.
        var unopened: Set<Int>
        /// Whether a read of the flow's head is under way.
        var isReading = false
        var isOpen = false
        var head: FlowHead?
        /// Shown to somebody by an outlet that was ahead of the sequencer: a snapshot or a page as the store had it.
        var shown: Version = 0
        var ticksUnconfirmed = 0

        init(outlets: [Int], epoch: Epoch) {
            self.outlets = outlets
            self.unopened = Set(outlets)
            self.epoch = epoch
        }
    }

    private final class Stripe: Sendable {
        let watches = Mutex<[FlowID: Watch]>([:])
    }

    /// A read that the table needs done; see ``BackgroundTasks``.
    public enum WorkItem: Sendable {
        case open(FlowID, Epoch)
        case page(FlowID, after: Version, Epoch)
        /// An event of an unknown epoch came in.
        case sweep
        /// Another instance revoked tokens.
        case revocations
    }

    private let stripes: [Stripe]
    private let bus: any EventBus
    private let epoch: Mutex<Epoch>
    private let outlets = Mutex<[any DeliverySink]>([])
    private let requestWork: @Sendable (WorkItem) -> Void
    private let phantomCount = Atomic<Int>(0)

    /// - Parameter requestWork: called from any thread; must not block.
    public init(bus: any EventBus, epoch: Epoch, requestWork: @escaping @Sendable (WorkItem) -> Void) {
        self.stripes = (0..<16).map { _ in Stripe() }
        self.bus = bus
        self.epoch = Mutex(epoch)
        self.requestWork = requestWork
    }

    /// Events with versions above the store's, dropped.
    public var phantoms: Int { self.phantomCount.load(ordering: .relaxed) }

    // MARK: Who watches

    /// Adds an event loop's outlet.
    /// - Returns: its number, for ``watch(_:outlet:)``.
    public func attach(_ outlet: any DeliverySink) -> Int {
        self.outlets.withLock { outlets in
            outlets.append(outlet)
            return outlets.count - 1
        }
    }

    /// From now on the outlet gets the flow's events. ``Delivery/opened(_:_:epoch:last:)`` comes first.
    public func watch(_ flow: FlowID, outlet: Int) {
        let isFirst = self.stripe(of: flow).watches.withLock { watches in
            if let watch = watches[flow] {
                if !watch.outlets.contains(outlet) { watch.outlets.append(outlet) }
                watch.unopened.insert(outlet)
                // The outlet needs the state as it is now; the one that was loaded when the flow was opened may be long past.
                if watch.isOpen, !watch.isReading {
                    watch.isReading = true
                    self.requestWork(.open(flow, watch.epoch))
                }
                return false
            }
            watches[flow] = Watch(outlets: [outlet], epoch: self.epoch.withLock { $0 })
            return true
        }
        if isFirst { self.bus.subscribe(to: flow) }
    }

    public func unwatch(_ flow: FlowID, outlet: Int) {
        let wasLast = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow] else { return false }
            watch.outlets.removeAll { $0 == outlet }
            watch.unopened.remove(outlet)
            if watch.outlets.isEmpty { watches[flow] = nil }
            return watch.outlets.isEmpty
        }
        guard wasLast else { return }
        self.bus.unsubscribe(from: flow)
        // Another loop may have begun to watch, and asked the bus before this one gave the flow up.
        if self.isWatched(flow) { self.bus.subscribe(to: flow) }
    }

    public func isWatched(_ flow: FlowID) -> Bool {
        self.stripe(of: flow).watches.withLock { $0[flow] != nil }
    }

    public func watchedFlows() -> [FlowID] {
        self.stripes.flatMap { stripe in stripe.watches.withLock { Array($0.keys) } }
    }

    /// The flow's head as far as it was delivered; `nil` if it is not watched, not open yet or does not exist.
    public func head(of flow: FlowID) -> FlowHead? {
        self.stripe(of: flow).watches.withLock { $0[flow]?.head }
    }

    /// The highest version that anybody on this instance may have seen of the flow; 0 if it is not watched.
    ///
    /// A subscriber may come back to another event loop without a cursor, and before what it saw has arrived there. What it
    /// is shown next must not be older.
    /// - Parameter epoch: the caller's. Versions of another history do not compare.
    public func highestShown(of flow: FlowID, epoch: Epoch) -> Version {
        self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return 0 }
            return max(watch.sequencer.last ?? 0, watch.shown)
        }
    }

    /// An outlet shows a version that was not delivered yet.
    public func shows(_ flow: FlowID, _ version: Version, epoch: Epoch) {
        self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return }
            watch.shown = max(watch.shown, version)
        }
    }

    /// Whether the flow is watched and known not to exist.
    public func isOpenAndAbsent(_ flow: FlowID) -> Bool {
        self.stripe(of: flow).watches.withLock { watches in
            watches[flow].map { $0.isOpen && $0.head == nil && $0.sequencer.last == 0 } ?? false
        }
    }

    // MARK: What the bus says

    public func subscribed(to flow: FlowID) {
        let epoch: Epoch? = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], !watch.isReading, !watch.isOpen else { return nil }
            watch.isReading = true
            return watch.epoch
        }
        if let epoch { self.requestWork(.open(flow, epoch)) }
    }

    public func received(_ messages: [BusMessage]) {
        for message in messages { self.receive(message) }
    }

    private func receive(_ message: BusMessage) {
        let epoch = self.epoch.withLock { $0 }
        if message.epoch != epoch {
            if message.epoch > epoch { self.requestWork(.sweep) }
            return
        }
        let read: Read? = self.stripe(of: message.flow).watches.withLock { watches in
            // The watch's own epoch: another thread may have begun it anew since the look at the table's.
            guard let watch = watches[message.flow], watch.epoch == epoch else { return nil }
            switch message.content {
            case .transient(let event):
                guard watch.isOpen else { return nil }
                let frame = Frame.transient(event, of: message.flow)
                self.deliver(.transient(message.flow, account: message.account, event, frame), to: watch.outlets)
                return nil
            case .foreign(let event):
                guard watch.isOpen, let owner = watch.head?.account, watch.head?.isDeleted == false else { return nil }
                let frame = Frame.transient(event, of: message.flow)
                self.deliver(.transient(message.flow, account: owner, event, frame), to: watch.outlets)
                return nil
            case .durable(let event, let head):
                let step = watch.sequencer.heard(event)
                return self.act(on: step, watch, flow: message.flow, head: head)
            }
        }
        self.request(read, of: message.flow)
    }

    /// What was missed meanwhile the store knows.
    public func deliveryChanged() { self.requestWork(.sweep) }

    public var backlog: Int { self.outlets.withLock { $0 }.reduce(0) { max($0, $1.backlog) } }

    public func noticed(_ notice: PeerNotification) {
        switch notice {
        case .revocations: self.requestWork(.revocations)
        }
    }

    // MARK: What the store says

    /// The store answered ``Work/open(_:_:)``.
    /// - Parameter epoch: of the request. The answer to one from before a reset is nobody's.
    public func opened(_ flow: FlowID, _ record: FlowRecord?, last: [TransientEvent], epoch: Epoch) {
        let read: Read? = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return nil }
            watch.isReading = false
            let version = record?.version ?? 0
            let step: Sequencer.Step
            if watch.isOpen {
                step = watch.sequencer.surveyed(version)
            } else {
                step = watch.sequencer.headLoaded(version)
                watch.isOpen = true
                watch.head = record?.head
            }
            // What was delivered while the store was read passed a late outlet by: it begins above that.
            var head = record?.head
            if let delivered = watch.head, delivered.version > version { head = delivered }
            self.deliver(
                .opened(flow, record, head: head, epoch: epoch, last: last), to: watch.outlets.filter(watch.unopened.contains))
            watch.unopened = []
            return self.act(on: step, watch, flow: flow, head: record?.head)
        }
        self.request(read, of: flow)
    }

    /// The store answered ``Work/page(_:after:_:)``.
    public func loaded(_ flow: FlowID, _ page: EventPage, epoch: Epoch) {
        let read: Read? = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return nil }
            let step = watch.sequencer.pageLoaded(page)
            return self.act(on: step, watch, flow: flow, head: page.head)
        }
        self.request(read, of: flow)
    }

    /// A read failed: the head's is begun again by ``tick()``, a page's by the sweep.
    public func openFailed(_ flow: FlowID, epoch: Epoch) {
        self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return }
            watch.isReading = false
        }
    }

    public func loadFailed(_ flow: FlowID, epoch: Epoch) {
        self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], watch.epoch == epoch else { return }
            watch.sequencer.readFailed()
        }
    }

    /// What was delivered of each of these flows so far: asked before the heads are read, see ``surveyed(_:heads:delivered:)``.
    public func delivered(_ flows: [FlowID]) -> [FlowID: Version] {
        var versions: [FlowID: Version] = [:]
        for flow in flows {
            versions[flow] = self.stripe(of: flow).watches.withLock { $0[flow]?.sequencer.last }
        }
        return versions
    }

    /// The version sweep's answer for some of the watched flows.
    /// - Parameters:
    ///   - heads: of `flows`; one that is missing does not exist.
    ///   - delivered: what ``delivered(_:)`` said before `heads` were read. What came since may well be above them.
    /// - Returns: whether a flow is below what was delivered here before: the store went back in time.
    public func surveyed(_ flows: [FlowID], heads: [FlowHead], delivered: [FlowID: Version]) -> Bool {
        var versions: [FlowID: FlowHead] = [:]
        for head in heads { versions[head.flow] = head }
        var wentBack = false
        for flow in flows {
            let version = versions[flow]?.version ?? 0
            if let before = delivered[flow], version < before {
                wentBack = true
                continue
            }
            let read: Read? = self.stripe(of: flow).watches.withLock { watches in
                guard let watch = watches[flow] else { return nil }
                if !watch.isOpen {
                    guard !watch.isReading else { return nil }
                    watch.isReading = true
                    return (.head, watch.epoch)
                }
                return self.act(on: watch.sequencer.surveyed(version), watch, flow: flow, head: versions[flow])
            }
            self.request(read, of: flow)
        }
        return wentBack
    }

    /// Begins every flow anew under another epoch, and tells the outlets.
    public func reset(to epoch: Epoch) {
        // Told first: an outlet must not get a flow of the new history before it knows that there is one. What it gets of the old
        // one after that it ignores.
        self.tell(.reset(epoch))
        self.epoch.withLock { $0 = epoch }
        for stripe in self.stripes {
            let flows = stripe.watches.withLock { watches in
                for (flow, watch) in watches {
                    let fresh = Watch(outlets: watch.outlets, epoch: epoch)
                    fresh.isReading = true
                    watches[flow] = fresh
                }
                return Array(watches.keys)
            }
            for flow in flows { self.requestWork(.open(flow, epoch)) }
        }
    }

    /// Opens flows whose subscription the bus has not confirmed for a second; the sweep covers them until it does.
    public func tick() {
        for stripe in self.stripes {
            let late = stripe.watches.withLock { watches in
                var late: [(FlowID, Epoch)] = []
                for (flow, watch) in watches where !watch.unopened.isEmpty && !watch.isReading {
                    watch.ticksUnconfirmed += 1
                    guard watch.isOpen || watch.ticksUnconfirmed > 1 else { continue }
                    watch.isReading = true
                    late.append((flow, watch.epoch))
                }
                return late
            }
            for (flow, epoch) in late { self.requestWork(.open(flow, epoch)) }
        }
    }

    /// Tells every outlet.
    public func tell(_ delivery: Delivery) {
        for outlet in self.outlets.withLock({ $0 }) { outlet.deliver(delivery) }
    }

    // MARK: Private

    private func stripe(of flow: FlowID) -> Stripe {
        self.stripes[Int(truncatingIfNeeded: UInt(bitPattern: flow.hashValue) & 15)]
    }

    /// A read to request, under the epoch of its watch.
    private typealias Read = (read: Sequencer.Step.Read, epoch: Epoch)

    /// Called under the stripe's lock.
    /// - Parameter head: of the flow at or after the last event.
    private func act(on step: Sequencer.Step, _ watch: Watch, flow: FlowID, head: FlowHead?) -> Read? {
        if step.phantoms > 0 { self.phantomCount.add(step.phantoms, ordering: .relaxed) }
        let read = step.read.map { ($0, watch.epoch) }
        guard step.jumped || !step.events.isEmpty, let last = watch.sequencer.last else { return read }
        let frames = step.events.map { Frame.durable($0, of: flow, epoch: watch.epoch) }
        // Only the head right after the last event says what the flow is now; of any other the account holds, which never
        // changes.
        if let head, head.version == last || watch.head == nil { watch.head = head }
        watch.head?.version = last
        self.deliver(.events(flow, frames, head: head ?? watch.head), to: watch.outlets)
        return read
    }

    private func deliver(_ delivery: Delivery, to numbers: [Int]) {
        let outlets = self.outlets.withLock { $0 }
        for number in numbers { outlets[number].deliver(delivery) }
    }

    private func request(_ read: Read?, of flow: FlowID) {
        switch read {
        case (.head, let epoch)?: self.requestWork(.open(flow, epoch))
        case (.page(let after), let epoch)?: self.requestWork(.page(flow, after: after, epoch))
        case nil: break
        }
    }
}
