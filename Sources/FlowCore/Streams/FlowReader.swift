/// One subscriber's way through one flow: newcomer, resumer and slow subscriber are the same thing, a cursor behind the
/// flow's head.
///
/// A reader is fed from history, a page at a time and only while its socket takes it, and goes *live* when it has reached
/// the head. Live it takes version cursor + 1 and nothing else, so there is no join buffer to overflow, and a slow
/// subscriber loses its queue but not its place.
///
/// States: *needs snapshot* → *awaits snapshot* → *behind* ⇄ *awaits page* → *live* → *behind* …; every state → *ended*.
public struct FlowReader: ~Copyable {
    /// What to do now. The answer to a load comes back by the method of its name.
    public enum Next: Hashable, Sendable {
        case loadSnapshot
        case loadPage(after: Version)
        /// The head is reached: say so if `announces`, hand over the latest transients, and deliver directly from now on.
        case goLive(announces: Bool)
        /// Nothing until something happens: a load is under way, the socket is full, or the reader is live or ended.
        case wait
    }

    public enum PageVerdict: Hashable, Sendable {
        /// Send the events of the page from this index on, then ask again.
        case send(from: Int)
        /// The place is lost: tell the reason, then a snapshot.
        case resync(ResyncReason)
        /// Nothing came: the answer to a load that does not matter any more.
        case ignore
    }

    public enum Offer: Hashable, Sendable {
        case take
        /// Already seen.
        case drop
        /// There is a hole before it: a reader again.
        case fallBehind
    }

    private enum State: Hashable {
        case needsSnapshot
        case awaitsSnapshot
        case behind
        case awaitsPage
        case live
        case ended
    }

    private var state: State
    /// The last version that the subscriber was sent; meaningless before the first snapshot.
    public private(set) var cursor: Version
    /// Why the coming snapshot is needed, and from where; told before it.
    public private(set) var pendingResync: (reason: ResyncReason, from: Version?)?
    private var announces = true
    /// Whether an ended reader had no place, or one of a history that is over by now.
    private var isPlaceVoid = false
    /// Whether the cursor is a claim of the client that no read of the store has confirmed yet.
    private var isUnproven = false

    /// - Parameter head: the flow's version, where a reader begins that wants neither history nor snapshot.
    public init(_ beginning: StartPoint, head: Version) {
        self.cursor = 0
        switch beginning {
        case .snapshot:
            self.state = .needsSnapshot
        case .resync(let reason):
            self.state = .needsSnapshot
            self.pendingResync = (reason, nil)
        case .after(let version):
            self.state = .behind
            self.cursor = version
            self.isUnproven = true
        case .head:
            self.state = .behind
            self.cursor = head
        }
        #if DEBUG
        if InjectedFault.resyncOff.isPlanted, case .resync = beginning {
            self.state = .behind
            self.cursor = head
            self.pendingResync = nil
        }
        #endif
    }

    public var isLive: Bool { self.state == .live }
    public var hasEnded: Bool { self.state == .ended }
    /// Whether the subscriber has a place in this flow, so that its cursor may name one.
    public var hasPlace: Bool {
        switch self.state {
        case .needsSnapshot, .awaitsSnapshot: false
        case .behind, .awaitsPage, .live: true
        case .ended: !self.isPlaceVoid
        }
    }

    /// - Parameters:
    ///   - head: the version up to which events have been handed to live subscribers.
    ///   - isWritable: whether the socket takes more. A closed window is waited for, never filled.
    public mutating func next(head: Version, isWritable: Bool) -> Next {
        guard isWritable else { return .wait }
        switch self.state {
        case .needsSnapshot:
            self.state = .awaitsSnapshot
            return .loadSnapshot
        case .behind:
            if self.cursor < head || (self.isUnproven && self.cursor > head) {
                self.state = .awaitsPage
                return .loadPage(after: self.cursor)
            }
            // At the head, or beyond what this instance has heard so far after a read that saw more.
            self.state = .live
            self.isUnproven = false
            defer { self.announces = false }
            return .goLive(announces: self.announces)
        case .awaitsSnapshot, .awaitsPage, .live, .ended:
            return .wait
        }
    }

    /// Whether a snapshot that comes now is the one that was asked for.
    public var awaitsSnapshot: Bool { self.state == .awaitsSnapshot }

    /// The state at `version` is about to be sent. Returns the notice that goes before it, if any.
    public mutating func snapshotLoaded(version: Version) -> (reason: ResyncReason, from: Version?)? {
        guard self.state == .awaitsSnapshot else { return nil }
        defer { self.pendingResync = nil }
        self.state = .behind
        self.cursor = version
        self.isUnproven = false
        return self.pendingResync
    }

    /// History was read.
    /// - Parameters:
    ///   - versions: of the page's events, ascending; empty if there is nothing above the cursor.
    ///   - storeHead: the flow's version in the same read; `nil` for a page from memory, which proves nothing about the
    ///     head.
    public mutating func pageLoaded(versions: ClosedRange<Version>?, storeHead: Version?) -> PageVerdict {
        guard self.state == .awaitsPage else { return .ignore }
        self.state = .behind
        #if DEBUG
        if InjectedFault.pageCheckOff.isPlanted, let versions {
            self.cursor = max(self.cursor, versions.upperBound)
            return .send(from: 0)
        }
        #endif
        guard let versions else {
            guard let storeHead else { return .ignore }
            if self.cursor > storeHead { return self.losePlace(.cursorAhead) }
            if self.cursor < storeHead { return self.losePlace(.historyPruned) }
            self.isUnproven = false
            return .send(from: 0)
        }
        if versions.lowerBound > self.cursor + 1 { return self.losePlace(.historyPruned) }
        self.isUnproven = false
        let skipped = Int(self.cursor + 1 - versions.lowerBound)
        self.cursor = max(self.cursor, versions.upperBound)
        return .send(from: skipped)
    }

    /// A load failed; it is asked for again at the next ``next(head:isWritable:)``.
    public mutating func loadFailed() {
        switch self.state {
        case .awaitsPage: self.state = .behind
        case .awaitsSnapshot: self.state = .needsSnapshot
        case .needsSnapshot, .behind, .live, .ended: break
        }
    }

    /// A live event is at hand. `take` moves the cursor: the caller must send it.
    public mutating func offered(_ version: Version) -> Offer {
        guard self.state == .live else { return .drop }
        if version == self.cursor + 1 {
            self.cursor = version
            return .take
        }
        if version <= self.cursor { return .drop }
        self.state = .behind
        // Transients of the meantime pass it by; it gets the latest when it is live again.
        self.announces = true
        return .fallBehind
    }

    /// Live events up to `version` were sent in one piece that begins at or below cursor + 1.
    public mutating func tookAll(through version: Version) {
        self.cursor = max(self.cursor, version)
    }

    /// The socket took no more. The place stays; what comes meanwhile is read from history later.
    public mutating func fellBehind() {
        guard self.state == .live else { return }
        self.state = .behind
        self.announces = true
        #if DEBUG
        if InjectedFault.slowReaderSkips.isPlanted { self.state = .live }
        #endif
    }

    /// What the subscriber holds means nothing any more.
    public mutating func reset(_ reason: ResyncReason) {
        guard self.state != .ended else {
            // Nothing more is sent of this flow, but the connection's cursor goes on, under another name.
            self.isPlaceVoid = true
            return
        }
        self.pendingResync = (reason, self.hasPlace ? self.cursor : self.pendingResync?.from)
        self.state = .needsSnapshot
        self.announces = true
    }

    public mutating func end() {
        self.isPlaceVoid = !self.hasPlace
        self.state = .ended
    }

    private mutating func losePlace(_ reason: ResyncReason) -> PageVerdict {
        #if DEBUG
        if InjectedFault.resyncOff.isPlanted {
            self.isUnproven = false
            return .ignore
        }
        #endif
        self.pendingResync = (reason, self.cursor)
        self.state = .needsSnapshot
        self.announces = true
        return .resync(reason)
    }
}
