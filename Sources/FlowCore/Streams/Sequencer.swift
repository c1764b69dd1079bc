/// The reorder buffer of one watched flow: hands out durable events in version order, each once, although the bus may
/// lose, repeat and reorder them.
///
/// Versions are assigned at commit, without gaps. So if a higher version has been received, every missing one is in the
/// store: the sequencer buffers the early event and requests a read of the gap. It never waits for a lost message.
///
/// States: *starting*, until the flow's version is known; then *following*, from ``headLoaded(_:)`` on. Events received
/// while *starting* are not buffered; if one of them is above the loaded version, the gap is read from the store.
///
/// The sequencer does no I/O: the caller carries out the ``Step`` that each method returns.
public struct Sequencer: ~Copyable {
    /// What the caller must do: deliver `events` in order, then start `read` unless it is `nil`. The sequencer has at most
    /// one read in flight.
    public struct Step: Sendable {
        /// A read of the store.
        public enum Read: Hashable, Sendable {
            /// The flow's version and state. The sequencer itself never requests this read; ``WatchTable`` does, for a watch
            /// that is not open yet.
            case head
            /// Durable events above this version.
            case page(after: Version)
        }

        /// The events that are next in version order.
        public var events: [FlowEvent] = []
        /// The read to start; `nil` if none is needed, or one is in flight.
        public var read: Read?
        /// Number of buffered events that were dropped because their version is above the store's.
        public var phantoms = 0
        /// Whether ``Sequencer/last`` advanced over pruned versions, for which there are no events. `events` come after them.
        public var skippedPruned = false
    }

    private enum State {
        /// The flow's version is not known yet. Of the received events only the highest version is kept; 0 if none.
        case starting(highestReceived: Version)
        /// Events are handed out in version order.
        case following(Following)
    }

    fileprivate struct Following {
        /// The last version that was handed out.
        var last: Version
        /// The buffered events above `last + 1`, by version.
        var earlyEvents: [Version: EarlyEvent] = [:]
        /// Number of reads started so far. Each early event records it, to distinguish a phantom (received before the read
        /// started, and yet not in the store) from an event that was committed after the page was read.
        var reads = 0
        /// Whether a history page was requested, and neither its result nor its failure was reported yet.
        var isReading = false
        /// Whether an event was dropped because the buffer was full, since the last read started.
        var hasOverflowed = false
        /// Whether the store is believed to have versions above `last`, from a received event, a page or a sweep.
        var isBehind = false
    }

    fileprivate struct EarlyEvent {
        var event: FlowEvent
        /// The value of ``Following/reads`` when the event was received.
        var receivedAfterRead: Int
    }

    /// Maximum number of early events in the buffer. Further ones are dropped and later read from the store like the gap.
    public static let maximumEarlyEvents = 256

    private var state = State.starting(highestReceived: 0)

    public init() {}

    /// The last version that was handed out; `nil` while starting.
    public var last: Version? {
        switch self.state {
        case .starting: nil
        case .following(let following): following.last
        }
    }

    /// Reports the flow's version as read from the store; delivery starts above it. Ignored when already *following*.
    public mutating func headLoaded(_ version: Version) -> Step {
        switch self.state {
        case .starting(let highestReceived):
            var step = Step()
            var following = Following(last: version)
            // Events received while starting are already in the store. A phantom is not; the page read will show that.
            following.isBehind = version < highestReceived
            following.startReading(&step)
            self.state = .following(following)
            return step
        case .following:
            return Step()
        }
    }

    /// Reports an event from the bus. Versions at or below ``last`` are ignored.
    public mutating func received(_ event: FlowEvent) -> Step {
        switch self.state {
        case .starting(let highestReceived):
            self.state = .starting(highestReceived: max(highestReceived, event.version))
            return Step()
        case .following(var following):
            if event.version <= following.last { return Step() }
            var step = Step()
            if event.version == following.last + 1 {
                following.last += 1
                step.events.append(event)
                following.drain(into: &step)
            } else {
                if following.earlyEvents.count < Self.maximumEarlyEvents {
                    following.earlyEvents[event.version] = EarlyEvent(event: event, receivedAfterRead: following.reads)
                } else {
                    following.hasOverflowed = true
                }
                following.isBehind = true
                following.startReading(&step)
            }
            self.state = .following(following)
            return step
        }
    }

    /// Reports the history page that a ``Step`` requested.
    ///
    /// Early events above ``EventPage/headVersion`` that were received before the read started are phantoms, and are dropped.
    /// The returned step requests another read if ``last`` is still below that version, if early events remain in the buffer,
    /// or if one was dropped because the buffer was full.
    public mutating func pageLoaded(_ page: EventPage) -> Step {
        guard case .following(var following) = self.state else { return Step() }
        var step = Step()
        following.isReading = false
        for event in page.events where event.version > following.last {
            // The version is above last + 1 only if the events between were pruned. ``FlowReader`` detects the gap and sends a
            // resync.
            following.last = event.version
            step.events.append(event)
        }
        if page.events.isEmpty, page.headVersion > following.last, page.headVersion > 0 {
            // All events up to the head were pruned: there is nothing to deliver, but the flow has this version.
            following.last = page.headVersion
            following.earlyEvents = following.earlyEvents.filter { $0.key > page.headVersion }
            step.skippedPruned = true
        }
        following.drain(into: &step)
        for (version, early) in following.earlyEvents
        where version > page.headVersion && early.receivedAfterRead < following.reads {
            following.earlyEvents[version] = nil
            step.phantoms += 1
        }
        following.isBehind = following.last < page.headVersion || !following.earlyEvents.isEmpty || following.hasOverflowed
        if following.isBehind { following.startReading(&step) }
        self.state = .following(following)
        return step
    }

    /// Reports that the requested read failed. The next version sweep or early event starts another read.
    public mutating func readFailed() {
        guard case .following(var following) = self.state else { return }
        following.isReading = false
        self.state = .following(following)
    }

    /// Reports the flow's version as the version sweep found it. The step requests a read if the version is above ``last``,
    /// or if an earlier read has not closed a gap. A version below ``last`` has no effect: the caller detects that the store
    /// regressed, see ``WatchTable/applySweep(_:heads:delivered:)``.
    public mutating func sweepReported(_ version: Version) -> Step {
        switch self.state {
        case .starting:
            return self.headLoaded(version)
        case .following(var following):
            guard version > following.last || following.isBehind else { return Step() }
            var step = Step()
            following.isBehind = true
            following.startReading(&step)
            self.state = .following(following)
            return step
        }
    }

    /// Whether a higher version than the store's was handed out, which means that the store regressed. `false` while
    /// starting.
    public func isAhead(of version: Version) -> Bool {
        self.last.map { $0 > version } ?? false
    }
}

extension Sequencer.Following {
    /// Moves the early events that now follow `last` without a gap to `step`, and drops those that are below it.
    fileprivate mutating func drain(into step: inout Sequencer.Step) {
        while let next = self.earlyEvents.removeValue(forKey: self.last + 1) {
            self.last += 1
            step.events.append(next.event)
        }
        if !self.earlyEvents.isEmpty { self.earlyEvents = self.earlyEvents.filter { $0.key > self.last } }
    }

    /// Adds to `step` a read of the history page after `last`, if ``isBehind`` and no read is in flight.
    fileprivate mutating func startReading(_ step: inout Sequencer.Step) {
        guard self.isBehind, !self.isReading else { return }
        self.isReading = true
        self.reads += 1
        self.hasOverflowed = false
        step.read = .page(after: self.last)
    }
}
