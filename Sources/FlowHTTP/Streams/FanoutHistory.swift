import FlowCore

/// The loads in flight for subscriptions that are not live, and the latest snapshot and history page that were encoded for them.
struct FanoutHistory {
    /// Subscriptions that wait for a history page, by the version after which it starts.
    private var pageWaiters: [Version: [Subscription]] = [:]
    /// Subscriptions that wait for a snapshot, by the minimum version of that snapshot.
    private var snapshotWaiters: [Version: [Subscription]] = [:]
    private var snapshot: Snapshot?
    private var page: Page?

    private struct Snapshot {
        let version: Version
        /// Number of the newest transient event in it.
        let transient: UInt64
        let event: EncodedEvent
        var blocks = PerForm<StreamBlock>()
    }

    /// A history page of recent frames.
    private struct Page {
        let after: Version
        let through: Version
        var blocks = PerForm<StreamBlock>()
    }

    // MARK: Loads in flight

    /// Adds a subscription that waits for a history page.
    /// - Returns: whether it is the first one, so that the page must be loaded.
    mutating func awaitPage(_ subscription: Subscription, after version: Version) -> Bool {
        self.pageWaiters[version, default: []].append(subscription)
        return self.pageWaiters[version]?.count == 1
    }

    mutating func takePageWaiters(after version: Version) -> [Subscription] {
        self.pageWaiters.removeValue(forKey: version) ?? []
    }

    /// Adds a subscription that waits for a snapshot.
    /// - Returns: whether it is the first one, so that the state must be loaded.
    mutating func awaitSnapshot(_ subscription: Subscription, atLeast version: Version) -> Bool {
        self.snapshotWaiters[version, default: []].append(subscription)
        return self.snapshotWaiters[version]?.count == 1
    }

    mutating func takeSnapshotWaiters(atLeast version: Version) -> [Subscription] {
        self.snapshotWaiters.removeValue(forKey: version) ?? []
    }

    // MARK: Encoded blocks

    /// The kept snapshot, if it has this version and these transient events.
    func snapshot(at version: Version, transient: UInt64) -> EncodedEvent? {
        guard let snapshot = self.snapshot, snapshot.version == version, snapshot.transient == transient else { return nil }
        return snapshot.event
    }

    mutating func keepSnapshot(_ event: EncodedEvent, at version: Version, transient: UInt64) {
        self.snapshot = Snapshot(version: version, transient: transient, event: event)
    }

    /// A snapshot in a form. Encoded once if it is the kept snapshot.
    mutating func block(of event: EncodedEvent, at version: Version, transient: UInt64, form: BlockForm) -> StreamBlock {
        guard self.snapshot(at: version, transient: transient) != nil else { return StreamEncoder.block(of: event, form: form) }
        return self.snapshot?.blocks.value(for: form) { StreamEncoder.block(of: event, form: form) } ?? event.block
    }

    /// Consecutive recent frames in one block. Encoded once for subscribers that read the same page one after the other.
    mutating func block(
        of frames: some Collection<Frame>, after: Version, through: Version, form: BlockForm
    ) -> StreamBlock {
        var page =
            self.page.flatMap { $0.after == after && $0.through == through ? $0 : nil } ?? Page(after: after, through: through)
        defer { self.page = page }
        return page.blocks.value(for: form) { StreamEncoder.block(of: frames, form: form) }
    }

    /// Bytes of the kept snapshot.
    var snapshotBytes: Int {
        guard let snapshot = self.snapshot else { return 0 }
        return snapshot.event.block.size + (snapshot.blocks[.unnamed]?.size ?? 0)
    }

    mutating func dropSnapshot() { self.snapshot = nil }

    /// Drops what was encoded, because it belongs to a previous epoch.
    mutating func dropEncoded() {
        self.snapshot = nil
        self.page = nil
    }
}
