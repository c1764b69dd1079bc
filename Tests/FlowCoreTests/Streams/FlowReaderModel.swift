import FlowCore

/// A store with pruning, a record of recent frames, a head that moves, loads answered late, a socket that opens and
/// closes, live events with holes, and another history at any time; and in the middle a reader. Throws when the subscriber
/// is sent something else than snapshots and what follows each, or is not told of a loss.
final class FlowReaderModel {
    private struct Load {
        var isSnapshot: Bool
        var after: Version
        var epoch: Int
        var snapshot: (versions: ClosedRange<Version>?, head: Version)?
    }

    private var reader: FlowReader
    private var dice: SeededGenerator
    private let beginning: StartPoint

    private var committed: Version
    private var pruned: Version = 0
    private var epoch = 0
    /// Handed to live subscribers so far.
    private var head: Version
    private var recent: RecentFrames
    private var isWritable = true
    private var load: Load?

    // What the subscriber knows.
    private var place: Version?
    private var owesResync = false
    private var wasTold = false
    private(set) var sent = 0
    private(set) var resyncs: Set<ResyncReason> = []

    init(seed: UInt64) {
        self.dice = SeededGenerator(seed: seed)
        self.committed = Version(self.dice.below(12))
        self.head = max(0, self.committed - Version(self.dice.below(2)))
        let claims = Version(self.dice.below(15))
        let choices: [StartPoint] = [.snapshot, .head, .after(claims), .after(self.head), .resync(.badCursor)]
        self.beginning = choices[self.dice.below(choices.count)]
        self.pruned = Version(self.dice.below(4)) * self.committed / 4
        var limit = RecentFrames.Limit()
        limit.frames = 3
        self.recent = RecentFrames(base: self.head, limit: limit)
        self.reader = FlowReader(self.beginning, head: self.head)
        switch self.beginning {
        case .snapshot: break
        case .resync: self.owesResync = true
        case .after(let version): self.place = version
        case .head: self.place = self.head
        }
    }

    func run(steps: Int) throws(Violation) {
        for _ in 0..<steps { try self.step() }
        try self.settle()
    }

    private func step() throws(Violation) {
        switch self.dice.below(100) {
        case 0..<25: self.committed += Version(1 + self.dice.below(3))
        case 25..<45: try self.advance()
        case 45..<50: self.pruned = max(self.pruned, Version(self.dice.below(Int(self.committed) + 1)))
        case 50..<60:
            self.isWritable.toggle()
            if !self.isWritable { self.reader.fellBehind() }
        case 60..<80: try self.feed()
        case 80..<86: self.takeSnapshot()
        case 86..<94: try self.answer()
        case 94..<97: self.failLoad()
        case 97: self.beginNewHistory()
        default: self.reader.fellBehind()
        }
    }

    /// The sequencer hands out the next versions, and jumps where pruning was faster.
    private func advance() throws(Violation) {
        for _ in 0...self.dice.below(3) where self.head < self.committed {
            self.head = min(max(self.head, self.pruned) + 1, self.committed)
            self.recent.append(Sample.frame(self.head))
            // Now and then an event does not reach this subscriber.
            if self.reader.isLive, self.isWritable, !self.dice.chance(10) {
                if case .take = self.reader.offered(self.head) { try self.send(event: self.head) }
            }
        }
    }

    private func feed() throws(Violation) {
        switch self.reader.next(head: self.head, isWritable: self.isWritable) {
        case .wait: break
        case .goLive:
            if self.owesResync { throw Violation(description: "live without the resync that was due") }
        case .loadSnapshot: try self.begin(Load(isSnapshot: true, after: 0, epoch: self.epoch))
        case .loadPage(let after):
            if let frames = self.recent.page(after: after, maximumBytes: 300), let first = frames.first, let last = frames.last {
                try self.took(
                    self.reader.pageLoaded(versions: first.version...last.version, storeHead: nil), of: frames.map(\.version))
            } else {
                try self.begin(Load(isSnapshot: false, after: after, epoch: self.epoch))
            }
        }
    }

    private func begin(_ load: Load) throws(Violation) {
        // One that was overtaken by another history is answered to nobody.
        if let old = self.load, old.epoch == self.epoch { throw Violation(description: "two loads at once") }
        self.load = load
    }

    private func takeSnapshot() {
        guard var load = self.load, load.snapshot == nil else { return }
        let first = max(load.after, self.pruned) + 1
        let last = min(self.committed, first + Version(self.dice.below(3)))
        load.snapshot = (first <= last ? first...last : nil, self.committed)
        self.load = load
    }

    private func answer() throws(Violation) {
        guard let load = self.load, let snapshot = load.snapshot else { return }
        self.load = nil
        if load.epoch != self.epoch {
            self.reader.loadFailed()
        } else if load.isSnapshot {
            let notice = self.reader.snapshotLoaded(version: snapshot.head)
            if let notice { self.resyncs.insert(notice.reason) }
            if self.owesResync || self.wasTold, notice == nil { throw Violation(description: "a snapshot without its resync") }
            self.place = snapshot.head
            self.owesResync = false
            self.wasTold = true
            self.sent += 1
        } else {
            let verdict = self.reader.pageLoaded(versions: snapshot.versions, storeHead: snapshot.head)
            try self.took(verdict, of: snapshot.versions.map { Array($0) } ?? [])
        }
    }

    private func took(_ verdict: FlowReader.PageVerdict, of versions: [Version]) throws(Violation) {
        switch verdict {
        case .ignore: break
        case .resync: self.owesResync = true
        case .send(let from): for version in versions.dropFirst(from) { try self.send(event: version) }
        }
    }

    private func send(event version: Version) throws(Violation) {
        if self.owesResync { throw Violation(description: "\(version) before the resync that was due") }
        guard let place = self.place, version == place + 1 else {
            throw Violation(description: "\(version) after \(self.place ?? -1)")
        }
        self.place = version
        self.wasTold = true
        self.sent += 1
    }

    private func failLoad() {
        guard let load = self.load else { return }
        self.load = nil
        if load.epoch == self.epoch { self.reader.loadFailed() }
    }

    private func beginNewHistory() {
        self.epoch += 1
        self.committed = Version(self.dice.below(8))
        self.head = self.committed
        self.pruned = 0
        var limit = RecentFrames.Limit()
        limit.frames = 3
        self.recent = RecentFrames(base: self.head, limit: limit)
        self.reader.reset(.epoch)
        self.owesResync = true
    }

    /// Nothing more happens, except that half of the subscribers are slow once more: they reach the head all the same.
    private func settle() throws(Violation) {
        self.isWritable = true
        try self.catchUp()
        guard self.dice.chance(50) else { return }
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
            if case .take = self.reader.offered(self.head) { try self.send(event: self.head) }
        }
        for _ in 0..<400 {
            if self.load != nil {
                self.takeSnapshot()
                try self.answer()
            } else if self.reader.isLive, self.place == self.committed {
                return
            } else {
                try self.feed()
            }
        }
        throw Violation(description: "stuck at \(self.place ?? -1) of \(self.committed), \(self.beginning)")
    }
}
