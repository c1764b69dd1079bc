import FlowCore
import NIOCore

/// The feed on one stream: first a list of the flows that changed last, then each change.
///
/// With a filter, both have only the flows that pass. The store applies it to the list. The poller reads the changes once for all
/// feeds of the account, so each feed applies its filter to them. A flow that no longer passes, because its status has changed, is
/// sent once more, if the client may have it from this stream.
///
/// Changes during the load of the list are buffered, up to the size of the list. Changes while the socket is not writable are
/// dropped. When the socket is writable again, a new list is sent; if the account has more flows than fit in one list, the
/// stream is closed instead, so that the client reconnects. Confined to the event loop.
final class FeedReader {
    private let stream: EventStream
    private let filter: FlowFilter
    private let shard: StreamShard
    private var isLoading = false
    /// Changes that arrived during the load of the list.
    private var pendingChanges: [FlowHead] = []
    /// Whether a change was dropped, so that a new list is due.
    private var hasMissedChange = false
    /// Whether a list was sent on this stream.
    private var hasSentPage = false
    /// The flows that the client has from this stream and that still passed the filter when they were sent. Only with a filter by
    /// status; `nil` if there are too many to remember, and then every change to another status is sent.
    private var shown: Set<FlowID>? = []
    /// Whether the poller reports changes to this feed.
    private(set) var isRegistered = false

    /// Maximum number of flows in ``shown``.
    static let maximumShown = 4_096

    init(_ stream: EventStream, filter: FlowFilter, shard: StreamShard) {
        self.stream = stream
        self.filter = filter
        self.shard = shard
    }

    /// Loads and sends the first list.
    func start() { self.load() }

    /// Sends changed flows of the account, if the token may see them and the filter accepts them. Buffers the changes while the
    /// list is being loaded. Drops them if the buffer is full or the socket is not writable, so that a new list is due.
    func changed(_ heads: [FlowHead]) {
        guard !self.hasMissedChange, self.stream.isOpen else { return }
        let visible = heads.filter { self.filter.accepts($0.flow) && self.stream.principal.maySubscribe($0.flow) }
        if self.isLoading {
            guard self.pendingChanges.count + visible.count > self.shard.services.configuration.feedPage else {
                self.pendingChanges += visible
                return
            }
        } else if self.stream.isWritable {
            self.send(visible)
            return
        } else if !visible.contains(where: self.concernsClient) {
            return
        }
        self.hasMissedChange = true
        self.pendingChanges = []
        self.shard.counters.slowSubscribers += 1
    }

    /// Whether the client is to be told of a change: the flow passes the filter now, or it did when the client was last told.
    private func concernsClient(_ head: FlowHead) -> Bool {
        self.filter.accepts(head.status) || self.shown?.contains(head.flow) ?? true
    }

    /// Remembers whether the flow passes the filter, as the client is told.
    private func remember(_ head: FlowHead) {
        guard !self.filter.statuses.isEmpty else { return }
        if self.filter.accepts(head.status) { self.shown?.insert(head.flow) } else { self.shown?.remove(head.flow) }
        if let count = self.shown?.count, count > Self.maximumShown { self.shown = nil }
    }

    /// Loads the list again if a change was dropped and the socket is writable. Called when the socket becomes writable, and
    /// every second.
    func resume() {
        guard self.hasMissedChange, !self.isLoading, self.stream.isOpen, self.stream.isWritable else { return }
        self.load()
    }

    /// Loads the list of the most recently changed flows, and sends it. Closes the stream if the read fails, or if a list was
    /// sent before and the new list does not have all flows of the account.
    private func load() {
        self.hasMissedChange = false
        self.isLoading = true
        let startedAt = self.shard.now()
        let query = FlowQuery(
            account: self.stream.principal.account, statuses: self.filter.statuses, order: .newest,
            idRanges: self.filter.idRanges, includesDeleted: self.filter.statuses.contains(.deleted),
            limit: self.shard.services.configuration.feedPage)
        self.shard.load { services in
            try await services.manager.list(query)
        } then: { [self] (list: FlowList?) in
            self.isLoading = false
            guard self.stream.isOpen else { return }
            // A list that is not complete does not show which other flows changed or were deleted. A client that reconnects
            // does not rely on earlier lists.
            guard let list, !(self.hasSentPage && list.hasMore) else {
                self.stream.close(.unavailable, retryMilliseconds: self.shard.jitteredRetry())
                return
            }
            if self.stream.isWritable { self.sendPage(list) } else { self.hasMissedChange = true }
            self.pendingChanges = []
            self.register(list, since: startedAt)
        }
    }

    /// Sends a list of flows, and then the buffered changes whose version is above the one in the list.
    private func sendPage(_ list: FlowList) {
        self.hasSentPage = true
        let flows = list.flows.filter { self.stream.principal.maySubscribe($0.flow) }
        self.stream.send([FeedEvents.first(flows)])
        self.shown = []
        for head in flows { self.remember(head) }
        let sentVersions = Self.versions(list)
        self.send(self.pendingChanges.filter { head in sentVersions[head.flow].map { $0 < head.version } ?? true })
    }

    /// Sends an event `flow` for each of the changes that concern the client.
    private func send(_ heads: [FlowHead]) {
        let heads = heads.filter { head in
            guard self.concernsClient(head) else { return false }
            self.remember(head)
            return true
        }
        guard !heads.isEmpty else { return }
        self.stream.send(heads.map { FeedEvents.change($0) })
    }

    /// Registers this feed with the ``FeedPoller``. Passes the versions in the list to the poller, which does not report these
    /// versions again.
    private func register(_ list: FlowList, since startedAt: Timestamp) {
        guard !self.isRegistered, self.stream.isOpen else { return }
        self.isRegistered = true
        self.shard.services.feedMembershipChanged(
            .joined(account: self.stream.principal.account, since: startedAt, versions: Self.versions(list)))
    }

    /// The version of each flow of a list.
    private static func versions(_ list: FlowList) -> [FlowID: Version] {
        Dictionary(list.flows.map { ($0.flow, $0.version) }) { max($0, $1) }
    }
}
