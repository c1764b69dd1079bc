import Synchronization

/// The flows that this instance watches, with one ``Sequencer`` each: turns bus messages and store reads into ordered
/// deliveries to the event loops.
///
/// A flow is watched while ``watch(_:sink:)`` was called for at least one sink. Its watch is *open* once the stored flow has
/// been loaded; from then on the flow's events are delivered. The table reads nothing itself: it enqueues a ``WorkItem``,
/// ``BackgroundTasks`` does the read and reports the result. Results from before an epoch change are ignored.
///
/// All methods may be called from any thread. Flows are distributed over 16 stripes with one lock each, the only lock that an
/// event takes. Deliveries are handed to the sinks under that lock, which keeps one flow's deliveries in order; a sink only
/// appends to a queue.
public final class WatchTable: BusSink {
    /// A watched flow. Confined to its stripe's lock.
    final class Watch {
        var sequencer = Sequencer()
        /// Indices of the sinks that receive the flow's deliveries.
        var sinks: [Int]
        /// The epoch of the history that the sequencer follows.
        let epoch: Epoch
        /// Indices of the sinks that have not received ``Delivery/opened(_:_:head:epoch:last:)`` yet.
        var sinksAwaitingOpen: Set<Int>
        /// Whether a ``WorkItem/open(_:_:)`` for this watch is in flight. The sequencer tracks its page reads itself.
        var isReading = false
        /// Whether the watch is open: the stored flow has been loaded, so the flow's events are delivered.
        var isOpen = false
        /// The flow's head as of the last delivered event; `nil` if the flow did not exist then, or the watch is not open.
        var head: FlowHead?
        /// The highest version that a sink has sent to a subscriber before the sequencer handed it out, in a snapshot or a
        /// history page.
        var shown: Version = 0
        /// Number of calls of ``WatchTable/tick()`` in which a sink still waited for ``Delivery/opened(_:_:head:epoch:last:)``
        /// and no ``WorkItem/open(_:_:)`` was in flight.
        var ticksUnconfirmed = 0

        init(sinks: [Int], epoch: Epoch) {
            self.sinks = sinks
            self.sinksAwaitingOpen = Set(sinks)
            self.epoch = epoch
        }
    }

    /// One sixteenth of the watches, with a lock of its own. A class, because a mutex cannot be an element of an array.
    final class Stripe: Sendable {
        struct State {
            /// The adopted epoch. All watches of the stripe are of this epoch.
            var epoch: Epoch
            var watches: [FlowID: Watch] = [:]
        }

        let state: Mutex<State>

        init(epoch: Epoch) { self.state = Mutex(State(epoch: epoch)) }
    }

    /// All sinks. They are set once, before the first flow is watched.
    private final class SinkList: Sendable {
        let sinks: [any DeliverySink]

        init(_ sinks: [any DeliverySink]) { self.sinks = sinks }
    }

    /// Work that the table requests from ``BackgroundTasks``. The epoch is that of the watch: if the watch has another one
    /// when the result is reported, the result is ignored.
    public enum WorkItem: Sendable {
        /// Load the stored flow and its latest transients, and report them with ``WatchTable/opened(_:_:last:epoch:)``.
        case open(FlowID, Epoch)
        /// Read durable events above a version, and report them with ``WatchTable/loaded(_:_:epoch:)``.
        case page(FlowID, after: Version, Epoch)
        /// Run a version sweep now, because an event of a higher epoch was received or the bus delivers again.
        case sweep
        /// Read the revocations again, because another instance has revoked tokens.
        case revocations
    }

    let stripes: [Stripe]
    private let bus: any EventBus
    private let sinkList = AtomicLazyReference<SinkList>()
    private let foreignMonitor: ForeignMessageMonitor?
    let enqueueWork: @Sendable (WorkItem) -> Void
    private let phantomCount = Atomic<Int>(0)

    /// - Parameters:
    ///   - foreignMonitor: counts the foreign messages that are not delivered; `nil` if the bus carries none.
    ///   - enqueueWork: receives the work items. Called from any thread, also under a lock; must not block or call the table.
    public init(
        bus: any EventBus, epoch: Epoch, foreignMonitor: ForeignMessageMonitor? = nil,
        enqueueWork: @escaping @Sendable (WorkItem) -> Void
    ) {
        self.foreignMonitor = foreignMonitor
        self.stripes = (0..<16).map { _ in Stripe(epoch: epoch) }
        self.bus = bus
        self.enqueueWork = enqueueWork
    }

    /// Number of phantoms dropped so far: events with a version above the store's.
    public var phantoms: Int { self.phantomCount.load(ordering: .relaxed) }

    // MARK: Watching flows

    /// Sets the sinks, one for each event loop. To be called once, before the first flow is watched. The index of a sink in the
    /// array identifies it, for example in ``watch(_:sink:)``.
    public func attach(_ sinks: [any DeliverySink]) {
        let list = SinkList(sinks)
        precondition(self.sinkList.storeIfNil(list) === list, "The sinks of a watch table are set once.")
    }

    /// The sinks; none before ``attach(_:)``.
    private var sinks: [any DeliverySink] { self.sinkList.load()?.sinks ?? [] }

    /// Starts delivery of a flow's events to a sink. The sink must ignore events of the flow that arrive before
    /// ``Delivery/opened(_:_:head:epoch:last:)``. The first sink of a flow makes the bus subscribe to it.
    /// - Parameter sink: the sink's index in ``attach(_:)``.
    public func watch(_ flow: FlowID, sink: Int) {
        let isFirst = self.stripe(of: flow).state.withLock { stripe in
            if let watch = stripe.watches[flow] {
                if !watch.sinks.contains(sink) { watch.sinks.append(sink) }
                watch.sinksAwaitingOpen.insert(sink)
                // The new sink needs the flow as it is now. What was loaded when the watch was opened may be outdated.
                if watch.isOpen, !watch.isReading {
                    watch.isReading = true
                    self.enqueueWork(.open(flow, watch.epoch))
                }
                return false
            }
            stripe.watches[flow] = Watch(sinks: [sink], epoch: stripe.epoch)
            return true
        }
        if isFirst { self.bus.subscribe(to: flow) }
    }

    /// Ends delivery of a flow to a sink. The bus subscription ends when no sink watches the flow any more.
    /// - Parameter sink: the sink's index in ``attach(_:)``.
    public func unwatch(_ flow: FlowID, sink: Int) {
        let wasLast = self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow] else { return false }
            watch.sinks.removeAll { $0 == sink }
            watch.sinksAwaitingOpen.remove(sink)
            if watch.sinks.isEmpty { stripe.watches[flow] = nil }
            return watch.sinks.isEmpty
        }
        guard wasLast else { return }
        self.bus.unsubscribe(from: flow)
        // Another event loop may have started to watch the flow and subscribed before this call unsubscribed.
        if self.isWatched(flow) { self.bus.subscribe(to: flow) }
    }

    /// Whether at least one sink of this instance watches the flow.
    public func isWatched(_ flow: FlowID) -> Bool {
        self.stripe(of: flow).state.withLock { $0.watches[flow] != nil }
    }

    /// All flows that at least one sink of this instance watches, in any order.
    public func watchedFlows() -> [FlowID] {
        self.stripes.flatMap { stripe in stripe.state.withLock { Array($0.watches.keys) } }
    }

    /// The flow's head as of the last delivered event; `nil` if the flow is not watched, if its watch is not open yet, or
    /// if the flow did not exist then.
    public func head(of flow: FlowID) -> FlowHead? {
        self.stripe(of: flow).state.withLock { $0.watches[flow]?.head }
    }

    /// The highest version of the flow that a subscriber of this instance may have received; 0 if the flow is not watched.
    ///
    /// A client may reconnect without a cursor on another event loop, before that loop has processed the events which the
    /// client received. Its next snapshot must not be older than those.
    /// - Parameter epoch: the caller's epoch. The result is 0 if the watch has another epoch: versions of different epochs
    ///   cannot be compared.
    public func highestShown(of flow: FlowID, epoch: Epoch) -> Version {
        self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return 0 }
            return max(watch.sequencer.last ?? 0, watch.shown)
        }
    }

    /// Records that a sink sends a subscriber this version, which the table may not have delivered yet. Ignored if the flow
    /// is not watched, or if its watch has another epoch.
    public func noteShown(_ flow: FlowID, _ version: Version, epoch: Epoch) {
        self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return }
            watch.shown = max(watch.shown, version)
        }
    }

    /// Whether the flow's watch is open and the store had no such flow as of the last delivery. `false` if the flow is not
    /// watched.
    public func isKnownAbsent(_ flow: FlowID) -> Bool {
        self.stripe(of: flow).state.withLock { stripe in
            stripe.watches[flow].map { $0.isOpen && $0.head == nil && $0.sequencer.last == 0 } ?? false
        }
    }

    // MARK: Input from the bus

    /// Requests the read that opens the flow's watch, unless the watch is open or the read is in flight. Called when the bus
    /// has confirmed its subscription to the flow, so that no event published after the read is missed.
    public func subscribed(to flow: FlowID) {
        let epoch: Epoch? = self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], !watch.isReading, !watch.isOpen else { return nil }
            watch.isReading = true
            return watch.epoch
        }
        if let epoch { self.enqueueWork(.open(flow, epoch)) }
    }

    /// Hands each message to the watch of its flow. Messages of flows that are not watched are ignored.
    public func received(_ messages: [BusMessage]) {
        for message in messages { self.receive(message) }
    }

    /// Delivers a transient or foreign event, or hands a durable one to the flow's sequencer. A message of another epoch
    /// is ignored; one of a higher epoch requests a version sweep, which finds the new epoch.
    private func receive(_ message: BusMessage) {
        var undelivered: ForeignMessageMonitor.Reason?
        let item: WorkItem? = self.stripe(of: message.flow).state.withLock { stripe in
            guard message.epoch == stripe.epoch else { return message.epoch > stripe.epoch ? .sweep : nil }
            guard let watch = stripe.watches[message.flow] else { return nil }
            switch message.content {
            case .transient(let event):
                guard watch.isOpen else { return nil }
                let frame = Frame.transient(event, of: message.flow)
                self.deliver(.transient(message.flow, account: message.account, event, frame), to: watch.sinks)
                return nil
            case .foreign(let event):
                let account = message.account.isEmpty ? watch.head?.account : message.account
                undelivered = Self.obstacle(to: account, watch)
                // For other accounts than the owner the flow does not exist: they receive what they would receive then.
                if let account, undelivered == nil || undelivered == .otherAccount {
                    let frame = Frame.transient(event, of: message.flow)
                    self.deliver(.transient(message.flow, account: account, event, frame), to: watch.sinks)
                }
                return nil
            case .durable(let event, let head):
                let step = watch.sequencer.received(event)
                return self.apply(step, to: watch, flow: message.flow, head: head)
            }
        }
        if let undelivered { self.foreignMonitor?.count(undelivered, flow: message.flow.rawValue) }
        if let item { self.enqueueWork(item) }
    }

    /// Why subscribers of the flow's owner do not receive a foreign event for `account`; `nil` if they do, or if the flow does not
    /// exist and the subscribers of `account` receive it.
    private static func obstacle(to account: String?, _ watch: Watch) -> ForeignMessageMonitor.Reason? {
        guard watch.isOpen else { return .opening }
        guard let account else { return .noAccount }
        guard let head = watch.head else { return nil }
        if head.account != account { return .otherAccount }
        return head.isDeleted ? .deleted : nil
    }

    /// Requests a version sweep, which finds the events that were lost while the bus did not deliver.
    public func deliveryChanged() { self.enqueueWork(.sweep) }

    /// The highest backlog of all sinks.
    public var backlog: Int { self.sinks.reduce(0) { max($0, $1.backlog) } }

    /// Requests a read of the revocations when another instance reports that they have changed.
    public func receivedNotification(_ notification: PeerNotification) {
        switch notification {
        case .revocations: self.enqueueWork(.revocations)
        }
    }

    // MARK: Input from the store

    /// Reports the result of ``WorkItem/open(_:_:)``: opens the watch if it is not open yet, and hands
    /// ``Delivery/opened(_:_:head:epoch:last:)`` to the sinks that wait for it.
    /// - Parameters:
    ///   - record: the stored flow; `nil` if the flow never existed.
    ///   - last: the flow's latest transient events.
    ///   - epoch: the epoch of the work item. The result is ignored if the flow's watch has another epoch by now.
    public func opened(_ flow: FlowID, _ record: FlowRecord?, last: [TransientEvent], epoch: Epoch) {
        let item: WorkItem? = self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return nil }
            watch.isReading = false
            let version = record?.version ?? 0
            let step: Sequencer.Step
            if watch.isOpen {
                step = watch.sequencer.sweepReported(version)
            } else {
                step = watch.sequencer.headLoaded(version)
                watch.isOpen = true
                watch.head = record?.head
            }
            // A sink that still waits for `opened` has ignored the events that were delivered during the read, so it must
            // start above them.
            var head = record?.head
            if let delivered = watch.head, delivered.version > version { head = delivered }
            self.deliver(
                .opened(flow, record, head: head, epoch: epoch, last: last),
                to: watch.sinks.filter(watch.sinksAwaitingOpen.contains))
            watch.sinksAwaitingOpen = []
            return self.apply(step, to: watch, flow: flow, head: record?.head)
        }
        if let item { self.enqueueWork(item) }
    }

    /// Reports the result of ``WorkItem/page(_:after:_:)``, and delivers the events that are next in version order.
    public func loaded(_ flow: FlowID, _ page: EventPage, epoch: Epoch) {
        let item: WorkItem? = self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return nil }
            let step = watch.sequencer.pageLoaded(page)
            return self.apply(step, to: watch, flow: flow, head: page.head)
        }
        if let item { self.enqueueWork(item) }
    }

    /// Reports that a ``WorkItem/open(_:_:)`` failed. ``tick()`` requests the read again while a sink waits for its result.
    public func openFailed(_ flow: FlowID, epoch: Epoch) {
        self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return }
            watch.isReading = false
        }
    }

    /// Reports that a ``WorkItem/page(_:after:_:)`` failed. The next version sweep or early event requests the history page
    /// again.
    public func loadFailed(_ flow: FlowID, epoch: Epoch) {
        self.stripe(of: flow).state.withLock { stripe in
            guard let watch = stripe.watches[flow], watch.epoch == epoch else { return }
            watch.sequencer.readFailed()
        }
    }

    /// Hands a delivery to every sink.
    public func broadcast(_ delivery: Delivery) {
        for sink in self.sinks { sink.deliver(delivery) }
    }

    // MARK: Steps

    /// The stripe that holds the flow's watch, if there is one. A flow always maps to the same stripe.
    func stripe(of flow: FlowID) -> Stripe {
        self.stripes[flow.lane(of: self.stripes.count)]
    }

    /// Delivers a sequencer step's events to the watch's sinks. Must be called under the stripe's lock.
    /// - Parameter head: the flow's head at or after the last event; `nil` if unknown.
    /// - Returns: the read that the step requests, to be enqueued after the lock is released.
    func apply(_ step: Sequencer.Step, to watch: Watch, flow: FlowID, head: FlowHead?) -> WorkItem? {
        if step.phantoms > 0 { self.phantomCount.add(step.phantoms, ordering: .relaxed) }
        let read = step.readAfter.map { WorkItem.page(flow, after: $0, watch.epoch) }
        guard step.skippedPruned || !step.events.isEmpty, let last = watch.sequencer.last else { return read }
        let frames = step.events.map { Frame.durable($0, of: flow, epoch: watch.epoch) }
        // A head of another version may have another status. Only its account is certain, because it never changes.
        if let head, head.version == last || watch.head == nil { watch.head = head }
        watch.head?.version = last
        self.deliver(.events(flow, frames, head: head ?? watch.head), to: watch.sinks)
        return read
    }

    /// Hands a delivery to the sinks with these indices.
    private func deliver(_ delivery: Delivery, to sinkIndices: [Int]) {
        let sinks = self.sinks
        for index in sinkIndices { sinks[index].deliver(delivery) }
    }
}
