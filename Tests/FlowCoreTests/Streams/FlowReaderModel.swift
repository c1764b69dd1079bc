import FlowCore

/// A randomized model of a reader's surroundings: a store with pruning, recent frames, a moving head, loads that return
/// late, a socket that is writable or not, live events with gaps, and epoch changes. Throws if the subscriber is sent
/// anything but snapshots and the versions that follow each, or if it loses events without a resync.
final class FlowReaderModel {
    private struct Load {
        var isSnapshot: Bool
        var after: Version
        var epoch: Int
        var snapshot: (versions: ClosedRange<Version>?, head: Version)?
    }

    private var reader: TestedReader
    private var random: SeededGenerator
    private let startPoint: StartPoint

    private var committed: Version
    private var pruned: Version = 0
    private var epoch = 0
    /// The last version that was delivered to live subscribers.
    private var head: Version
    private var recent: RecentFrames
    private var isWritable = true
    private var load: Load?

    // The subscriber's view.
    private var position: Version?
    private var owesResync = false
    private var hasSentAnything = false
    private(set) var sent = 0
    private(set) var resyncs: Set<ResyncReason> = []

    init(seed: UInt64, fault: TestedReader.Fault? = nil) {
        self.random = SeededGenerator(seed: seed)
        self.committed = Version(self.random.below(12))
        self.head = max(0, self.committed - Version(self.random.below(2)))
        let claimedVersion = Version(self.random.below(15))
        let choices: [StartPoint] = [.snapshot, .head, .after(claimedVersion), .after(self.head), .resync(.badCursor)]
        self.startPoint = choices[self.random.below(choices.count)]
        self.pruned = Version(self.random.below(4)) * self.committed / 4
        var limit = RecentFrames.Limit()
        limit.frames = 3
        self.recent = RecentFrames(base: self.head, limit: limit)
        self.reader = TestedReader(self.startPoint, head: self.head, fault: fault)
        switch self.startPoint {
        case .snapshot: break
        case .resync: self.owesResync = true
        case .after(let version): self.position = version
        case .head: self.position = self.head
        }
    }

    func run(steps: Int) throws(Violation) {
        for _ in 0..<steps { try self.step() }
        try self.settle()
    }

    private func step() throws(Violation) {
        switch self.random.below(100) {
        case 0..<25: self.committed += Version(1 + self.random.below(3))
        case 25..<45: try self.advance()
        case 45..<50: self.pruned = max(self.pruned, Version(self.random.below(Int(self.committed) + 1)))
        case 50..<60:
            self.isWritable.toggle()
            if !self.isWritable { self.reader.fellBehind() }
        case 60..<80: try self.advanceReader()
        case 80..<86: self.readStore()
        case 86..<94: try self.finishLoad()
        case 94..<97: self.failLoad()
        case 97: self.startNewHistory()
        default: self.reader.fellBehind()
        }
    }

    /// Delivers the next versions as the sequencer does, skipping those that were pruned before they were delivered.
    private func advance() throws(Violation) {
        for _ in 0...self.random.below(3) where self.head < self.committed {
            self.head = min(max(self.head, self.pruned) + 1, self.committed)
            self.recent.append(Sample.frame(self.head))
            // Some events do not reach this subscriber.
            if self.reader.isLive, self.isWritable, !self.random.chance(10) {
                if case .accept = self.reader.offer(self.head) { try self.send(event: self.head) }
            }
        }
    }

    private func advanceReader() throws(Violation) {
        switch self.reader.next(head: self.head, isWritable: self.isWritable) {
        case .wait: break
        case .goLive:
            if self.owesResync { throw Violation(description: "live without the resync that was due") }
        case .loadSnapshot: try self.startLoad(Load(isSnapshot: true, after: 0, epoch: self.epoch))
        case .loadPage(let after):
            if let frames = self.recent.page(after: after, maximumBytes: 300), let first = frames.first, let last = frames.last {
                try self.apply(
                    self.reader.pageLoaded(versions: first.version...last.version, storeHead: nil), of: frames.map(\.version))
            } else {
                try self.startLoad(Load(isSnapshot: false, after: after, epoch: self.epoch))
            }
        }
    }

    private func startLoad(_ load: Load) throws(Violation) {
        // A load of an earlier epoch may still be in flight. It is superseded, and its result is never reported.
        if let old = self.load, old.epoch == self.epoch { throw Violation(description: "two loads at once") }
        self.load = load
    }

    private func readStore() {
        guard var load = self.load, load.snapshot == nil else { return }
        let first = max(load.after, self.pruned) + 1
        let last = min(self.committed, first + Version(self.random.below(3)))
        load.snapshot = (first <= last ? first...last : nil, self.committed)
        self.load = load
    }

    private func finishLoad() throws(Violation) {
        guard let load = self.load, let snapshot = load.snapshot else { return }
        self.load = nil
        if load.epoch != self.epoch {
            self.reader.loadFailed()
        } else if load.isSnapshot {
            let notice = self.reader.snapshotLoaded(version: snapshot.head)
            if let notice { self.resyncs.insert(notice.reason) }
            if self.owesResync || self.hasSentAnything, notice == nil {
                throw Violation(description: "a snapshot without its resync")
            }
            self.position = snapshot.head
            self.owesResync = false
            self.hasSentAnything = true
            self.sent += 1
        } else {
            let verdict = self.reader.pageLoaded(versions: snapshot.versions, storeHead: snapshot.head)
            try self.apply(verdict, of: snapshot.versions.map { Array($0) } ?? [])
        }
    }

    private func apply(_ verdict: FlowReader.PageVerdict, of versions: [Version]) throws(Violation) {
        switch verdict {
        case .ignore: break
        case .resync: self.owesResync = true
        case .send(let from): for version in versions.dropFirst(from) { try self.send(event: version) }
        }
    }

    private func send(event version: Version) throws(Violation) {
        if self.owesResync { throw Violation(description: "\(version) before the resync that was due") }
        guard let position = self.position, version == position + 1 else {
            throw Violation(description: "\(version) after \(self.position ?? -1)")
        }
        self.position = version
        self.hasSentAnything = true
        self.sent += 1
    }

    private func failLoad() {
        guard let load = self.load else { return }
        self.load = nil
        if load.epoch == self.epoch { self.reader.loadFailed() }
    }

    private func startNewHistory() {
        self.epoch += 1
        self.committed = Version(self.random.below(8))
        self.head = self.committed
        self.pruned = 0
        var limit = RecentFrames.Limit()
        limit.frames = 3
        self.recent = RecentFrames(base: self.head, limit: limit)
        self.reader.reset(.epoch)
        self.owesResync = true
    }

    /// Ends the run: the reader must reach the head. In half of the runs the subscriber then becomes slow during two more
    /// commits, and must reach the head again.
    private func settle() throws(Violation) {
        self.isWritable = true
        try self.catchUp()
        guard self.random.chance(50) else { return }
        self.isWritable = false
        self.reader.fellBehind()
        self.committed += 2
        while self.head < self.committed {
            self.head += 1
            self.recent.append(Sample.frame(self.head))
        }
        self.isWritable = true
        try self.catchUp()
    }

    private func catchUp() throws(Violation) {
        while self.head < self.committed {
            self.head = min(max(self.head, self.pruned) + 1, self.committed)
            self.recent.append(Sample.frame(self.head))
            if case .accept = self.reader.offer(self.head) { try self.send(event: self.head) }
        }
        for _ in 0..<400 {
            if self.load != nil {
                self.readStore()
                try self.finishLoad()
            } else if self.reader.isLive, self.position == self.committed {
                return
            } else {
                try self.advanceReader()
            }
        }
        throw Violation(description: "stuck at \(self.position ?? -1) of \(self.committed), \(self.startPoint)")
    }
}
