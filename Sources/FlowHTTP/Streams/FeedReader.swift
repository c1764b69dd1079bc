import FlowCore
import NIOCore

/// One reader of an account's feed: a page of the flows that changed last, then each change.
///
/// What changes while a page is read waits for it. What changes while the peer takes nothing is not kept: once it takes more it
/// gets a fresh page, or begins anew where a page does not hold everything. Confined to the event loop.
final class FeedReader {
    private let stream: EventStream
    private let shard: StreamShard
    private var isLoading = false
    /// Changes that came while the page was being read.
    private var pendingChanges: [FlowHead] = []
    /// Whether a change was not told.
    private var hasMissedChange = false
    private var hasSentPage = false
    /// Whether the poller knows of it.
    private(set) var isRegistered = false

    init(_ stream: EventStream, shard: StreamShard) {
        self.stream = stream
        self.shard = shard
    }

    func start() { self.load() }

    /// These flows of the account changed.
    func changed(_ heads: [FlowHead]) {
        let visible = heads.filter { self.stream.principal.maySubscribe($0.flow) }
        guard !visible.isEmpty, !self.hasMissedChange, self.stream.isOpen else { return }
        if self.isLoading, self.pendingChanges.count + visible.count <= self.shard.services.configuration.feedPage {
            self.pendingChanges += visible
        } else if !self.isLoading, self.stream.isWritable {
            self.send(visible)
        } else {
            self.hasMissedChange = true
            self.pendingChanges = []
            self.shard.counters.slowReaders += 1
        }
    }

    /// The peer takes more, or a second has passed.
    func resume() {
        guard self.hasMissedChange, !self.isLoading, self.stream.isOpen, self.stream.isWritable else { return }
        self.load()
    }

    private func load() {
        self.hasMissedChange = false
        self.isLoading = true
        let startedAt = self.shard.now()
        let query = FlowQuery(
            account: self.stream.principal.account, order: .newest, limit: self.shard.services.configuration.feedPage)
        self.shard.load { services in
            try await services.manager.list(query)
        } then: { [self] (list: FlowList?) in
            self.isLoading = false
            guard self.stream.isOpen else { return }
            // A page that leaves flows out does not tell which of them changed or are gone; a client that connects knows that.
            guard let list, !(self.hasSentPage && list.hasMore) else {
                self.stream.close(.unavailable, retryMilliseconds: self.shard.jitteredRetry())
                return
            }
            if self.stream.isWritable { self.sendPage(list) } else { self.hasMissedChange = true }
            self.pendingChanges = []
            self.register(list, since: startedAt)
        }
    }

    private func sendPage(_ list: FlowList) {
        self.hasSentPage = true
        self.stream.send(FeedEvents.first(list.flows.filter { self.stream.principal.maySubscribe($0.flow) }))
        let sentVersions = Self.versions(list)
        let newer = self.pendingChanges.filter { head in sentVersions[head.flow].map { $0 < head.version } ?? true }
        if !newer.isEmpty { self.send(newer) }
    }

    private func send(_ heads: [FlowHead]) {
        var block = ByteBuffer()
        for head in heads { FeedEvents.write(head, into: &block) }
        self.stream.send(block)
    }

    /// From the page on: so the poller does not tell it once more.
    private func register(_ list: FlowList, since startedAt: Timestamp) {
        guard !self.isRegistered, self.stream.isOpen else { return }
        self.isRegistered = true
        self.shard.services.feedMembershipChanged(
            .joined(account: self.stream.principal.account, since: startedAt, versions: Self.versions(list)))
    }

    private static func versions(_ list: FlowList) -> [FlowID: Version] {
        Dictionary(list.flows.map { ($0.flow, $0.version) }) { max($0, $1) }
    }
}
