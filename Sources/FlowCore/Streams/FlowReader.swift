/// The state machine of one subscription: which snapshot, history page or live event the subscriber is sent next.
///
/// New, resuming and slow subscribers share this machine: each is a cursor behind the flow's head. The reader replays
/// history page by page, only while the socket is writable, and goes *live* when it reaches the head. A live reader
/// accepts version `cursor + 1` and no other. So there is no buffer between replay and live events that could overflow,
/// and a slow subscriber loses queued events but never its position: it returns to *behind* and reads history again.
///
/// States: *needs snapshot* → *awaits snapshot* → *behind* ⇄ *awaits page*; *behind* → *live* → *behind*. *Awaits page*
/// leads to *needs snapshot* if the page shows that the position is lost. ``reset(_:)`` leads to *needs snapshot* from every
/// state except *ended*. ``end()`` leads from every state to *ended*, which is final.
///
/// The reader does no I/O and has no clock. The caller asks ``next(head:isWritable:)`` what to do, does it, and reports the
/// result.
public struct FlowReader: ~Copyable {
    /// The next step of the subscription, for the caller to carry out.
    public enum Next: Hashable, Sendable {
        /// Load the flow's state. Report it with ``FlowReader/snapshotLoaded(version:)`` or ``FlowReader/loadFailed()``.
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
        /// The position is lost: events after the cursor were pruned, or the cursor is above the store's version. A snapshot
        /// is due; ``FlowReader/snapshotLoaded(version:)`` returns the `resync` to send before the snapshot.
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
        /// Versions between the cursor and the event are missing. The caller must not send the event: the reader is *behind*
        /// now and reads the missing versions and this one from history.
        case fallBehind
    }

    private enum State: Hashable {
        /// A snapshot is due and was not requested yet.
        case needsSnapshot
        /// The caller is loading the snapshot.
        case awaitsSnapshot
        /// The subscriber is at ``FlowReader/cursor`` and is not sent live events.
        case behind
        /// The caller is loading the history page after the cursor.
        case awaitsPage
        /// The subscriber is sent each event as it is delivered.
        case live
        /// The subscription has ended.
        case ended
    }

    private var state: State
    /// The last version that the subscriber was sent; valid only if ``hasPosition``.
    public private(set) var cursor: Version
    /// The `resync` to send before the next snapshot: its reason, and the last version that the subscriber was sent, if
    /// known.
    public private(set) var pendingResync: (reason: ResyncReason, from: Version?)?
    /// Whether the next ``Next/goLive(sendsCaughtUp:)`` sends `caught_up`: the reader has not been live yet, or has fallen
    /// behind or been reset since.
    private var sendsCaughtUp = true
    /// For an ended reader: whether it had no position when it ended, or the epoch of its position has been replaced since.
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
    }

    /// Whether the subscriber is sent each event as it is delivered.
    public var isLive: Bool { self.state == .live }
    /// Whether ``end()`` was called.
    public var hasEnded: Bool { self.state == .ended }
    /// Whether ``cursor`` is a position that the client may resume from.
    public var hasPosition: Bool {
        switch self.state {
        case .needsSnapshot, .awaitsSnapshot: false
        case .behind, .awaitsPage, .live: true
        case .ended: !self.isPositionInvalid
        }
    }

    /// Returns what to do next, and assumes that the caller does it: each load is returned only once, unless it fails.
    /// - Parameters:
    ///   - head: the flow's last version that was delivered to live subscribers.
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
            // The cursor is at the head, or above it: a read of the store may return versions that were not delivered to
            // this event loop yet.
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
    /// - Returns: the `resync` to send before the snapshot: its reason, and the last version that the subscriber was sent
    ///   (`nil` if unknown). `nil` if no `resync` is due.
    public mutating func snapshotLoaded(version: Version) -> (reason: ResyncReason, from: Version?)? {
        guard self.state == .awaitsSnapshot else { return nil }
        defer { self.pendingResync = nil }
        self.state = .behind
        self.cursor = version
        self.isCursorUnverified = false
        return self.pendingResync
    }

    /// Reports a history page, and moves the cursor to the page's last version unless the position is lost. Ignored unless a
    /// history page was requested.
    ///
    /// The position is lost if events after the cursor were pruned, or if the cursor is above the store's version.
    /// - Parameters:
    ///   - versions: the versions of the page's events; `nil` if there are none above the cursor.
    ///   - storeHead: the flow's version in the store when the page was read; `nil` for a page from ``RecentFrames``, which
    ///     proves nothing about the store.
    public mutating func pageLoaded(versions: ClosedRange<Version>?, storeHead: Version?) -> PageVerdict {
        guard self.state == .awaitsPage else { return .ignore }
        self.state = .behind
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

    /// Offers a durable event that was just delivered, by its version. ``OfferResult/accept`` means that the cursor is now at
    /// this version, so the caller must send the event.
    public mutating func offer(_ version: Version) -> OfferResult {
        guard self.state == .live else { return .discard }
        if version == self.cursor + 1 {
            self.cursor = version
            return .accept
        }
        if version <= self.cursor { return .discard }
        self.state = .behind
        // Transient events are not sent while the reader is behind. The subscriber is sent the latest ones when the reader is
        // live again.
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
    }

    /// Invalidates everything that was sent to the subscriber: a `resync` with this reason and a snapshot are due. If the
    /// reader has ended, only its position becomes invalid.
    public mutating func reset(_ reason: ResyncReason) {
        guard self.state != .ended else {
            // The stream goes on with its other flows, and its cursor now names the new epoch. This flow's last version
            // belongs to the old epoch, so the stream's cursor must no longer contain it.
            self.isPositionInvalid = true
            return
        }
        self.pendingResync = (reason, self.hasPosition ? self.cursor : self.pendingResync?.from)
        self.state = .needsSnapshot
        self.sendsCaughtUp = true
    }

    /// Ends the subscription. ``hasPosition`` keeps its value, so that the stream's cursor still contains this flow's version.
    public mutating func end() {
        self.isPositionInvalid = !self.hasPosition
        self.state = .ended
    }

    /// Makes a `resync` with this reason and a snapshot due, because the subscriber cannot continue from the cursor.
    private mutating func losePosition(_ reason: ResyncReason) -> PageVerdict {
        self.pendingResync = (reason, self.cursor)
        self.state = .needsSnapshot
        self.sendsCaughtUp = true
        return .resync(reason)
    }
}
