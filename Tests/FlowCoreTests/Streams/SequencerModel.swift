import FlowCore

/// A randomized model of the sequencer's surroundings: a store with commits, a bus that loses, repeats, reorders and delays
/// messages, reads that return late, and version sweeps. Throws if the sequencer delivers versions out of order or with gaps.
final class SequencerModel {
    private enum Snapshot {
        case head(Version)
        case page(EventPage)
    }

    private var sequencer: TestedSequencer
    private var random: SeededGenerator
    private let mayFail: Bool

    private var committed: Version
    private var bus: [FlowEvent] = []
    private var read: Sequencer.Step.Read? = .head
    private var snapshot: Snapshot?
    private var sweep: Version?
    private var phantomsSent = 0

    private(set) var delivered: Version?
    private(set) var phantoms = 0
    private(set) var deliveries = 0

    init(seed: UInt64, mayFail: Bool = true, skipsGaps: Bool = false) {
        self.sequencer = TestedSequencer(skipsGaps: skipsGaps)
        self.random = SeededGenerator(seed: seed)
        self.committed = Version(seed % 4)
        self.mayFail = mayFail
    }

    func run(steps: Int) throws(Violation) {
        for _ in 0..<steps { try self.step() }
        try self.settle()
    }

    private func step() throws(Violation) {
        switch self.random.below(100) {
        case 0..<25: self.commit()
        case 25..<60: try self.receive()
        case 60..<63:
            // A phantom. Not while starting: SequencerTests covers that case.
            if self.sequencer.last != nil {
                self.phantomsSent += 1
                self.bus.append(Sample.event(1_000_000 + Version(self.phantomsSent)))
            }
        case 63..<78: self.readStore()
        case 78..<90: try self.finishLoad()
        case 90..<95: self.sweep = self.committed
        default: try self.endSweep()
        }
    }

    private func commit() {
        for _ in 0...self.random.below(3) {
            self.committed += 1
            if !self.random.chance(20) { self.bus.append(Sample.event(self.committed)) }
        }
    }

    private func receive() throws(Violation) {
        guard !self.bus.isEmpty else { return }
        let index = self.random.chance(70) ? 0 : self.random.below(self.bus.count)
        let event = self.random.chance(10) ? self.bus[index] : self.bus.remove(at: index)
        try self.process(self.sequencer.received(event))
    }

    /// Reads the store. This happens some steps after the request, and the result is reported some steps later.
    private func readStore() {
        guard self.snapshot == nil, let read = self.read else { return }
        switch read {
        case .head: self.snapshot = .head(self.committed)
        case .page(let after):
            let last = min(self.committed, after + 1 + Version(self.random.below(3)))
            self.snapshot = .page(Sample.page(after < last ? after + 1...last : nil, head: self.committed))
        }
    }

    private func finishLoad() throws(Violation) {
        if self.mayFail, self.random.chance(15), case .page? = self.read {
            self.read = nil
            self.snapshot = nil
            self.sequencer.readFailed()
            return
        }
        guard let snapshot = self.snapshot else { return }
        self.snapshot = nil
        self.read = nil
        switch snapshot {
        case .head(let version):
            let step = self.sequencer.headLoaded(version)
            if let last = self.sequencer.last, self.delivered == nil { self.delivered = last }
            try self.process(step)
        case .page(let page): try self.process(self.sequencer.pageLoaded(page))
        }
    }

    private func endSweep() throws(Violation) {
        guard let version = self.sweep, self.sequencer.last != nil else { return }
        self.sweep = nil
        try self.process(self.sequencer.sweepReported(version))
    }

    private func process(_ step: Sequencer.Step) throws(Violation) {
        self.phantoms += step.phantoms
        for event in step.events {
            guard let before = self.delivered else { throw Violation(description: "delivered while starting") }
            guard event.version == before + 1 else {
                throw Violation(description: "\(event.version) after \(before)")
            }
            self.delivered = event.version
            self.deliveries += 1
        }
        if self.delivered != self.sequencer.last {
            throw Violation(description: "last is \(self.sequencer.last ?? -1), delivered \(self.delivered ?? -1)")
        }
        if let read = step.read {
            guard self.read == nil else { throw Violation(description: "two reads at once: \(read)") }
            self.read = read
        }
    }

    /// Ends the run: discards all messages, completes reads and runs sweeps until every version must have been delivered.
    private func settle() throws(Violation) {
        self.bus = []
        self.sweep = nil
        for _ in 0..<1_000 {
            if self.read != nil {
                self.readStore()
                try self.finishLoad()
            } else if self.sequencer.last == self.committed {
                break
            } else {
                self.sweep = self.committed
                try self.endSweep()
            }
        }
        guard self.delivered == self.committed else {
            throw Violation(description: "stuck at \(self.delivered ?? -1) of \(self.committed)")
        }
        // A phantom may still be buffered if no read was needed after it. A repeated one may be counted several times.
        if self.phantoms > self.phantomsSent * 50 { throw Violation(description: "phantoms counted again and again") }
    }
}
