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
    private var waiting: [FlowHead] = []
    /// Whether a change was not told.
    private var hasMissed = false
    private var hasBegun = false
    /// Whether the poller knows of it.
    private(set) var hasJoined = false

    init(_ stream: EventStream, shard: StreamShard) {
        self.stream = stream
        self.shard = shard
    }

    func begin() { self.load() }

    /// These flows of the account changed.
    func changed(_ heads: [FlowHead]) {
        let visible = heads.filter { self.stream.principal.maySubscribe($0.flow) }
        guard !visible.isEmpty, !self.hasMissed, self.stream.isOpen else { return }
        if self.isLoading, self.waiting.count + visible.count <= self.shard.services.configuration.feedPage {
            self.waiting += visible
        } else if !self.isLoading, self.stream.isWritable {
            self.tell(visible)
        } else {
            self.hasMissed = true
            self.waiting = []
            self.shard.counters.slowReaders += 1
        }
    }

    /// The peer takes more, or a second has passed.
    func resume() {
        guard self.hasMissed, !self.isLoading, self.stream.isOpen, self.stream.isWritable else { return }
        self.load()
    }

    private func load() {
        self.hasMissed = false
        self.isLoading = true
        let began = self.shard.now()
        let query = FlowQuery(
            account: self.stream.principal.account, order: .newest, limit: self.shard.services.configuration.feedPage)
        self.shard.load { services in
            try await services.manager.list(query)
        } then: { [self] (list: FlowList?) in
            self.isLoading = false
            guard self.stream.isOpen else { return }
            // A page that leaves flows out does not tell which of them changed or are gone; a client that connects knows that.
            guard let list, !(self.hasBegun && list.hasMore) else {
                self.stream.close(.unavailable, retryMilliseconds: self.shard.jitteredRetry())
                return
            }
            if self.stream.isWritable { self.begin(with: list) } else { self.hasMissed = true }
            self.waiting = []
            self.join(list, since: began)
        }
    }

    private func begin(with list: FlowList) {
        self.hasBegun = true
        self.stream.send(FeedEvents.first(list.flows.filter { self.stream.principal.maySubscribe($0.flow) }))
        let known = Self.versions(list)
        let newer = self.waiting.filter { head in known[head.flow].map { $0 < head.version } ?? true }
        if !newer.isEmpty { self.tell(newer) }
    }

    private func tell(_ heads: [FlowHead]) {
        var block = ByteBuffer()
        for head in heads { FeedEvents.write(head, into: &block) }
        self.stream.send(block)
    }

    /// From the page on: so the poller does not tell it once more.
    private func join(_ list: FlowList, since began: Timestamp) {
        guard !self.hasJoined, self.stream.isOpen else { return }
        self.hasJoined = true
        self.shard.services.feedChanged(
            .joined(account: self.stream.principal.account, since: began, told: Self.versions(list)))
    }

    private static func versions(_ list: FlowList) -> [FlowID: Version] {
        Dictionary(list.flows.map { ($0.flow, $0.version) }) { max($0, $1) }
    }
}
