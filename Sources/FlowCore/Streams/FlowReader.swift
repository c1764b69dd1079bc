/// The state machine of one subscription: which snapshot, history page or live event the subscriber is sent next.
///
/// New, resuming and slow subscribers share this machine: each is a cursor behind the flow's head. The reader replays
/// history page by page, only while the socket is writable, and goes *live* when it reaches the head. A live reader
/// accepts version `cursor + 1` and no other. So there is no buffer between replay and live events that could overflow,
/// and a slow subscriber loses queued events but never its position: it returns to *behind* and reads history again.
///
/// States: *needs snapshot* → *awaits snapshot* → *behind* ⇄ *awaits page*; *behind* → *live* → *behind*. A position that
/// a page proves lost leads from *awaits page* to *needs snapshot*, and so does a reset from every state. ``end()`` leads
/// from every state to *ended*, which is final.
///
/// The reader does no I/O and has no clock. The caller asks ``next(head:isWritable:)`` what to do, does it, and reports the
/// result.
public struct FlowReader: ~Copyable {
    /// The next step of the subscription, for the caller to carry out.
    public enum Next: Hashable, Sendable {
        /// Load the state. Report it with ``FlowReader/snapshotLoaded(version:)`` or ``FlowReader/loadFailed()``.
        case loadSnapshot
        /// Load durable events above this version. Report them with ``FlowReader/pageLoaded(versions:storeHead:)`` or
        /// ``FlowReader/loadFailed()``.
        case loadPage(after: Version)
        /// The reader has reached the head. Send `caught_up` if `sendsCaughtUp`, send the latest transients that the
        /// subscriber lacks, and offer it every live event from now on.
        case goLive(sendsCaughtUp: Bool)
        /// Do nothing: a load is in flight, the socket is not writable, or the reader is live or ended.
        case wait
    }

    /// The result of comparing a history page with the cursor.
    public enum PageVerdict: Hashable, Sendable {
        /// Send the page's events from this index on, if any, then call ``FlowReader/next(head:isWritable:)`` again.
        case send(from: Int)
        /// The position is lost. A snapshot is due; ``FlowReader/snapshotLoaded(version:)`` returns the `resync` to send
        /// before it.
        case resync(ResyncReason)
        /// Send nothing: the reader no longer waits for a page, or the page was empty and came without the store's head.
        case ignore
    }

    /// The result of offering a live event.
    public enum OfferResult: Hashable, Sendable {
        /// The event is the next one; the caller must send it.
        case accept
        /// The subscriber was sent this version before, or the reader is not live.
        case discard
        /// Versions are missing before the event. The reader is *behind* and reads them from history.
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
    /// The last version that the subscriber was sent; valid only if ``hasPosition``.
    public private(set) var cursor: Version
    /// The `resync` to send before the next snapshot: its reason, and the last version that the subscriber was sent, if
    /// known.
    public private(set) var pendingResync: (reason: ResyncReason, from: Version?)?
    private var sendsCaughtUp = true
    /// Whether an ended reader had no position, or one in an epoch that has been replaced since.
    private var isPositionInvalid = false
    /// Whether the cursor came from the client and no read of the store has confirmed it yet.
    private var isCursorUnverified = false

    /// Creates the reader of a subscription that has been sent nothing yet.
    /// - Parameter head: the flow's version. Used only with ``StartPoint/head``, where it becomes the cursor.
    public init(_ startPoint: StartPoint, head: Version) {
        self.cursor = 0
        switch startPoint {
        case .snapshot:
            self.state = .needsSnapshot
        case .resync(let reason):
            self.state = .needsSnapshot
            self.pendingResync = (reason, nil)
        case .after(let version):
            self.state = .behind
            self.cursor = version
            self.isCursorUnverified = true
        case .head:
            self.state = .behind
            self.cursor = head
        }
        #if DEBUG
        if InjectedFault.resyncOff.isActive, case .resync = startPoint {
            self.state = .behind
            self.cursor = head
            self.pendingResync = nil
        }
        #endif
    }

    public var isLive: Bool { self.state == .live }
    public var hasEnded: Bool { self.state == .ended }
    /// Whether ``cursor`` is a position that the client may resume from.
    public var hasPosition: Bool {
        switch self.state {
        case .needsSnapshot, .awaitsSnapshot: false
        case .behind, .awaitsPage, .live: true
        case .ended: !self.isPositionInvalid
        }
    }

    /// Returns what to do next, and assumes that the caller does it: a load is returned only once.
    /// - Parameters:
    ///   - head: the last version that was delivered to live subscribers.
    ///   - isWritable: whether the socket accepts more bytes. If not, the result is always ``Next/wait``, so that nothing is
    ///     loaded that could not be sent.
    public mutating func next(head: Version, isWritable: Bool) -> Next {
        guard isWritable else { return .wait }
        switch self.state {
        case .needsSnapshot:
            self.state = .awaitsSnapshot
            return .loadSnapshot
        case .behind:
            if self.cursor < head || (self.isCursorUnverified && self.cursor > head) {
                self.state = .awaitsPage
                return .loadPage(after: self.cursor)
            }
            // At the head, or above it: a read of the store may return versions that were not delivered here yet.
            self.state = .live
            self.isCursorUnverified = false
            defer { self.sendsCaughtUp = false }
            return .goLive(sendsCaughtUp: self.sendsCaughtUp)
        case .awaitsSnapshot, .awaitsPage, .live, .ended:
            return .wait
        }
    }

    /// Whether a snapshot was requested and has not been reported yet.
    public var awaitsSnapshot: Bool { self.state == .awaitsSnapshot }

    /// Reports that the state at `version` is about to be sent. Ignored unless ``awaitsSnapshot``.
    /// - Returns: the reason and start version of the `resync` to send before the snapshot; `nil` if none is due.
    public mutating func snapshotLoaded(version: Version) -> (reason: ResyncReason, from: Version?)? {
        guard self.state == .awaitsSnapshot else { return nil }
        defer { self.pendingResync = nil }
        self.state = .behind
        self.cursor = version
        self.isCursorUnverified = false
        return self.pendingResync
    }

    /// Reports a page of history and moves the cursor to the page's last version. Ignored unless a page was requested.
    ///
    /// The position is lost if events after the cursor were pruned, or if the cursor is above the store's version.
    /// - Parameters:
    ///   - versions: the versions of the page's events; `nil` if there are none above the cursor.
    ///   - storeHead: the flow's version as of the same read; `nil` for a page from memory, which proves nothing about
    ///     the store.
    public mutating func pageLoaded(versions: ClosedRange<Version>?, storeHead: Version?) -> PageVerdict {
        guard self.state == .awaitsPage else { return .ignore }
        self.state = .behind
        #if DEBUG
        if InjectedFault.pageCheckOff.isActive, let versions {
            self.cursor = max(self.cursor, versions.upperBound)
            return .send(from: 0)
        }
        #endif
        guard let versions else {
            guard let storeHead else { return .ignore }
            if self.cursor > storeHead { return self.losePosition(.cursorAhead) }
            if self.cursor < storeHead { return self.losePosition(.historyPruned) }
            self.isCursorUnverified = false
            return .send(from: 0)
        }
        if versions.lowerBound > self.cursor + 1 { return self.losePosition(.historyPruned) }
        self.isCursorUnverified = false
        let skipped = Int(self.cursor + 1 - versions.lowerBound)
        self.cursor = max(self.cursor, versions.upperBound)
        return .send(from: skipped)
    }

    /// Reports that a load failed. ``next(head:isWritable:)`` then returns the same load again.
    public mutating func loadFailed() {
        switch self.state {
        case .awaitsPage: self.state = .behind
        case .awaitsSnapshot: self.state = .needsSnapshot
        case .needsSnapshot, .behind, .live, .ended: break
        }
    }

    /// Offers a live event. ``OfferResult/accept`` moves the cursor, so the caller must then send the event.
    public mutating func offer(_ version: Version) -> OfferResult {
        guard self.state == .live else { return .discard }
        if version == self.cursor + 1 {
            self.cursor = version
            return .accept
        }
        if version <= self.cursor { return .discard }
        self.state = .behind
        // Transient events are not sent while the reader is behind; it gets the latest ones when it is live again.
        self.sendsCaughtUp = true
        return .fallBehind
    }

    /// Reports that live events up to `version` were sent in one buffer. The first of them must be at or below `cursor + 1`.
    public mutating func advance(through version: Version) {
        self.cursor = max(self.cursor, version)
    }

    /// Reports that the socket is not writable. The cursor stays; events that are committed until the socket is writable
    /// again are read from history. Ignored unless the reader is live.
    public mutating func fellBehind() {
        guard self.state == .live else { return }
        self.state = .behind
        self.sendsCaughtUp = true
        #if DEBUG
        if InjectedFault.slowReaderSkips.isActive { self.state = .live }
        #endif
    }

    /// Invalidates everything that was sent to the subscriber: a `resync` with this reason and a snapshot are due.
    public mutating func reset(_ reason: ResyncReason) {
        guard self.state != .ended else {
            // Nothing more of this flow is sent, but the stream's cursor continues in another epoch, without this version.
            self.isPositionInvalid = true
            return
        }
        self.pendingResync = (reason, self.hasPosition ? self.cursor : self.pendingResync?.from)
        self.state = .needsSnapshot
        self.sendsCaughtUp = true
    }

    /// Ends the subscription. ``hasPosition`` keeps its value, so that the stream's cursor may still contain this flow.
    public mutating func end() {
        self.isPositionInvalid = !self.hasPosition
        self.state = .ended
    }

    /// Makes a `resync` with this reason and a snapshot due, because the subscriber cannot continue from the cursor.
    private mutating func losePosition(_ reason: ResyncReason) -> PageVerdict {
        #if DEBUG
        if InjectedFault.resyncOff.isActive {
            self.isCursorUnverified = false
            return .ignore
        }
        #endif
        self.pendingResync = (reason, self.cursor)
        self.state = .needsSnapshot
        self.sendsCaughtUp = true
        return .resync(reason)
    }
}
