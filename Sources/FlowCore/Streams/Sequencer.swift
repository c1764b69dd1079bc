/// Puts the durable events of one watched flow in order, whatever the bus does to them.
///
/// Commit order is version order, so a version that is missing between two others is in the store: the sequencer holds
/// what came early and has the gap read. It never waits for a message.
///
/// States: *starting* (the head is being read) goes to *following* when ``headLoaded(_:)`` brings a version that is not
/// below anything heard meanwhile.
public struct Sequencer: ~Copyable {
    /// What the caller must do: hand out `events` in order, then begin a read if one is asked for. At most one read is
    /// under way at any time.
    public struct Step: Sendable {
        public enum Read: Hashable, Sendable {
            case head
            case page(after: Version)
        }

        public var events: [FlowEvent] = []
        public var read: Read?
        /// Versions above the store's own, dropped.
        public var phantoms = 0
        /// ``Sequencer/last`` moved without an event: history was pruned up to there, before `events`.
        public var jumped = false
    }

    private enum State {
        case starting(highestHeard: Version)
        case following(Following)
    }

    fileprivate struct Following {
        var last: Version
        var held: [Version: Held] = [:]
        /// Reads begun so far. What is held remembers the number, to tell a phantom from an event that was committed
        /// after the page was read.
        var reads = 0
        var isReading = false
        /// An event was heard and could not be held, since the last read began.
        var hasOverflowed = false
        /// The store has more than was delivered, as far as anybody said.
        var isBehind = false
    }

    fileprivate struct Held {
        var event: FlowEvent
        var heardAfterRead: Int
    }

    /// Events that wait for a gap to close. More are dropped and read from the store like the gap itself.
    public static let maximumHeld = 256

    private var state = State.starting(highestHeard: 0)

    public init() {}

    /// The last version that was handed out; `nil` while starting.
    public var last: Version? {
        switch self.state {
        case .starting: nil
        case .following(let following): following.last
        }
    }

    /// The store told the flow's version.
    public mutating func headLoaded(_ version: Version) -> Step {
        switch self.state {
        case .starting(let highestHeard):
            var step = Step()
            var following = Following(last: version)
            // What came meanwhile is in the store by now; a phantom is not, and the page says so.
            following.isBehind = version < highestHeard
            following.beginReading(&step)
            self.state = .following(following)
            return step
        case .following:
            return Step()
        }
    }

    /// The bus brought an event.
    public mutating func heard(_ event: FlowEvent) -> Step {
        switch self.state {
        case .starting(let highestHeard):
            self.state = .starting(highestHeard: max(highestHeard, event.version))
            return Step()
        case .following(var following):
            if event.version <= following.last { return Step() }
            var step = Step()
            if event.version == following.last + 1 {
                following.last += 1
                step.events.append(event)
                following.drain(into: &step)
            } else {
                if following.held.count < Self.maximumHeld {
                    following.held[event.version] = Held(event: event, heardAfterRead: following.reads)
                } else {
                    following.hasOverflowed = true
                }
                following.isBehind = true
                #if DEBUG
                if InjectedFault.gapReadOff.isPlanted {
                    following.last = event.version
                    following.held = [:]
                    step.events.append(event)
                    following.isBehind = false
                }
                #endif
                following.beginReading(&step)
            }
            self.state = .following(following)
            return step
        }
    }

    /// The store answered a read of a page.
    public mutating func pageLoaded(_ page: EventPage) -> Step {
        guard case .following(var following) = self.state else { return Step() }
        var step = Step()
        following.isReading = false
        for event in page.events where event.version > following.last {
            // Above last + 1 only where pruning took the events between. Subscribers see the jump and are told.
            following.last = event.version
            step.events.append(event)
        }
        if page.events.isEmpty, page.headVersion > following.last, page.headVersion > 0 {
            // Pruning took all of it: there is nothing to hand out, but the flow is there.
            following.last = page.headVersion
            following.held = following.held.filter { $0.key > page.headVersion }
            step.jumped = true
        }
        following.drain(into: &step)
        for (version, held) in following.held where version > page.headVersion && held.heardAfterRead < following.reads {
            following.held[version] = nil
            step.phantoms += 1
        }
        following.isBehind = following.last < page.headVersion || !following.held.isEmpty || following.hasOverflowed
        if following.isBehind { following.beginReading(&step) }
        self.state = .following(following)
        return step
    }

    /// A read failed. The next sweep that finds the flow ahead starts another.
    public mutating func readFailed() {
        guard case .following(var following) = self.state else { return }
        following.isReading = false
        self.state = .following(following)
    }

    /// The version sweep told the flow's version. A version below ``last`` is for the caller to notice: see
    /// ``isAhead(of:)``.
    public mutating func surveyed(_ version: Version) -> Step {
        switch self.state {
        case .starting:
            return self.headLoaded(version)
        case .following(var following):
            guard version > following.last || following.isBehind else { return Step() }
            var step = Step()
            following.isBehind = true
            following.beginReading(&step)
            self.state = .following(following)
            return step
        }
    }

    /// Whether this machine has handed out more than the store holds: the store went back in time.
    public func isAhead(of version: Version) -> Bool {
        self.last.map { $0 > version } ?? false
    }
}

extension Sequencer.Following {
    fileprivate mutating func drain(into step: inout Sequencer.Step) {
        while let next = self.held.removeValue(forKey: self.last + 1) {
            self.last += 1
            step.events.append(next.event)
        }
        if !self.held.isEmpty { self.held = self.held.filter { $0.key > self.last } }
    }

    fileprivate mutating func beginReading(_ step: inout Sequencer.Step) {
        guard self.isBehind, !self.isReading else { return }
        self.isReading = true
        self.reads += 1
        self.hasOverflowed = false
        step.read = .page(after: self.last)
    }
}
