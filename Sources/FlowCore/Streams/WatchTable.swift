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
        /// Confirmed by the bus, or given up waiting for it.
        var isReading = false
        var isOpen = false
        var head: FlowHead?
        var ticksUnconfirmed = 0

        init(outlet: Int) { self.outlets = [outlet] }
    }

    private final class Stripe: Sendable {
        let watches = Mutex<[FlowID: Watch]>([:])
    }

    /// A read that the table needs done; see ``HubLoop``.
    public enum Work: Sendable {
        case open(FlowID)
        case page(FlowID, after: Version)
        /// An event of an unknown epoch came in.
        case sweep
    }

    private let stripes: [Stripe]
    private let bus: any EventBus
    private let epoch: Mutex<Epoch>
    private let outlets = Mutex<[any Outlet]>([])
    private let requestWork: @Sendable (Work) -> Void
    private let phantomCount = Atomic<Int>(0)

    /// - Parameter requestWork: called from any thread; must not block.
    public init(bus: any EventBus, epoch: Epoch, requestWork: @escaping @Sendable (Work) -> Void) {
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
    public func attach(_ outlet: any Outlet) -> Int {
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
                // The outlet needs the state as it is now; the one that was loaded when the flow was opened may be long past.
                if watch.isOpen { self.requestWork(.open(flow)) }
                return false
            }
            watches[flow] = Watch(outlet: outlet)
            return true
        }
        if isFirst { self.bus.subscribe(to: flow) }
    }

    public func unwatch(_ flow: FlowID, outlet: Int) {
        let wasLast = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow] else { return false }
            watch.outlets.removeAll { $0 == outlet }
            if watch.outlets.isEmpty { watches[flow] = nil }
            return watch.outlets.isEmpty
        }
        if wasLast { self.bus.unsubscribe(from: flow) }
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

    /// Whether the flow is watched and known not to exist.
    public func isOpenAndAbsent(_ flow: FlowID) -> Bool {
        self.stripe(of: flow).watches.withLock { watches in
            watches[flow].map { $0.isOpen && $0.head == nil && $0.sequencer.last == 0 } ?? false
        }
    }

    // MARK: What the bus says

    public func subscribed(to flow: FlowID) {
        let mustOpen = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow], !watch.isReading, !watch.isOpen else { return false }
            watch.isReading = true
            return true
        }
        if mustOpen { self.requestWork(.open(flow)) }
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
        let read: Sequencer.Step.Read? = self.stripe(of: message.flow).watches.withLock { watches in
            guard let watch = watches[message.flow] else { return nil }
            switch message.content {
            case .transient(let event):
                guard watch.isOpen else { return nil }
                let frame = Frame.transient(event, of: message.flow)
                self.deliver(.transient(message.flow, account: message.account, event, frame), to: watch.outlets)
                return nil
            case .durable(let event, let head):
                let step = watch.sequencer.heard(event)
                return self.act(on: step, watch, flow: message.flow, head: head, epoch: epoch)
            }
        }
        self.request(read, of: message.flow)
    }

    public func deliveryChanged() {}

    // MARK: What the store says

    /// The store answered ``Work/open(_:)``.
    public func opened(_ flow: FlowID, _ record: FlowRecord?, last: [TransientEvent]) {
        let epoch = self.epoch.withLock { $0 }
        let read: Sequencer.Step.Read? = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow] else { return nil }
            watch.isReading = false
            let version = record?.version ?? 0
            if watch.isOpen {
                // For an outlet that came later; the others know better already and pass over it.
                let step = watch.sequencer.surveyed(version)
                self.deliver(.opened(flow, record, epoch: epoch, last: last), to: watch.outlets)
                return self.act(on: step, watch, flow: flow, head: nil, epoch: epoch)
            }
            let step = watch.sequencer.headLoaded(version)
            if step.read == nil {
                watch.isOpen = true
                watch.head = record?.head
                self.deliver(.opened(flow, record, epoch: epoch, last: last), to: watch.outlets)
            } else {
                watch.isReading = true
            }
            return step.read
        }
        self.request(read, of: flow)
    }

    /// The store answered ``Work/page(_:after:)``.
    public func loaded(_ flow: FlowID, _ page: EventPage) {
        let epoch = self.epoch.withLock { $0 }
        let read: Sequencer.Step.Read? = self.stripe(of: flow).watches.withLock { watches in
            guard let watch = watches[flow] else { return nil }
            let step = watch.sequencer.pageLoaded(page)
            return self.act(on: step, watch, flow: flow, head: page.head, epoch: epoch)
        }
        self.request(read, of: flow)
    }

    public func loadFailed(_ flow: FlowID) {
        self.stripe(of: flow).watches.withLock { watches in
            watches[flow]?.isReading = false
            watches[flow]?.sequencer.readFailed()
        }
    }

    /// The version sweep's answer for some of the watched flows.
    /// - Parameter heads: of `flows`; one that is missing does not exist.
    /// - Returns: whether a flow is below what was delivered here: the store went back in time.
    public func surveyed(_ flows: [FlowID], heads: [FlowHead]) -> Bool {
        let epoch = self.epoch.withLock { $0 }
        var versions: [FlowID: FlowHead] = [:]
        for head in heads { versions[head.flow] = head }
        var wentBack = false
        for flow in flows {
            let version = versions[flow]?.version ?? 0
            let read: Sequencer.Step.Read? = self.stripe(of: flow).watches.withLock { watches in
                guard let watch = watches[flow] else { return nil }
                if !watch.isOpen {
                    guard !watch.isReading else { return nil }
                    watch.isReading = true
                    return .head
                }
                if watch.sequencer.isAhead(of: version) {
                    wentBack = true
                    return nil
                }
                return self.act(on: watch.sequencer.surveyed(version), watch, flow: flow, head: nil, epoch: epoch)
            }
            self.request(read, of: flow)
        }
        return wentBack
    }

    /// Begins every flow anew under another epoch, and tells the outlets.
    public func reset(to epoch: Epoch) {
        self.epoch.withLock { $0 = epoch }
        self.tell(.reset(epoch))
        for stripe in self.stripes {
            let flows = stripe.watches.withLock { watches in
                for (flow, watch) in watches {
                    let fresh = Watch(outlet: 0)
                    fresh.outlets = watch.outlets
                    fresh.isReading = true
                    watches[flow] = fresh
                }
                return Array(watches.keys)
            }
            for flow in flows { self.requestWork(.open(flow)) }
        }
    }

    /// Opens flows whose subscription the bus has not confirmed for a second; the sweep covers them until it does.
    public func tick() {
        for stripe in self.stripes {
            let late = stripe.watches.withLock { watches in
                var late: [FlowID] = []
                for (flow, watch) in watches where !watch.isOpen && !watch.isReading {
                    watch.ticksUnconfirmed += 1
                    guard watch.ticksUnconfirmed > 1 else { continue }
                    watch.isReading = true
                    late.append(flow)
                }
                return late
            }
            for flow in late { self.requestWork(.open(flow)) }
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

    /// Called under the stripe's lock.
    private func act(
        on step: Sequencer.Step, _ watch: Watch, flow: FlowID, head: FlowHead?, epoch: Epoch
    ) -> Sequencer.Step.Read? {
        if step.phantoms > 0 { self.phantomCount.add(step.phantoms, ordering: .relaxed) }
        guard let last = step.events.last else { return step.read }
        var frames = step.events.map { Frame.durable($0, of: flow, epoch: epoch) }
        #if DEBUG
        if PlantedFault.batchReversed.isPlanted { frames.reverse() }
        #endif
        // Only the head right after the last event says what the flow is now.
        let current = head.flatMap { $0.version == last.version ? $0 : nil }
        if let current { watch.head = current } else { watch.head?.version = last.version }
        self.deliver(.events(flow, frames, head: current), to: watch.outlets)
        return step.read
    }

    private func deliver(_ delivery: Delivery, to numbers: [Int]) {
        let outlets = self.outlets.withLock { $0 }
        for number in numbers { outlets[number].deliver(delivery) }
    }

    private func request(_ read: Sequencer.Step.Read?, of flow: FlowID) {
        switch read {
        case .head: self.requestWork(.open(flow))
        case .page(let after): self.requestWork(.page(flow, after: after))
        case nil: break
        }
    }
}
