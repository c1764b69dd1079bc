import FlowCore
import Testing

/// A step in a form that can be compared.
struct StepSummary: Hashable {
    var versions: [Version] = []
    var read: Sequencer.Step.Read?
    var phantoms = 0

    static let nothing = StepSummary()

    init(_ versions: [Version] = [], read: Sequencer.Step.Read? = nil, phantoms: Int = 0) {
        self.versions = versions
        self.read = read
        self.phantoms = phantoms
    }

    init(_ step: Sequencer.Step) {
        self.init(step.events.map(\.version), read: step.read, phantoms: step.phantoms)
    }
}

extension CoreStreams {
    @Suite struct SequencerTests {
        @Test func eventsInOrderNeedNoRead() {
            var machine = Sequencer()
            #expect(StepSummary(machine.headLoaded(2)) == .nothing)
            #expect(StepSummary(machine.received(Sample.event(3))) == StepSummary([3]))
            #expect(StepSummary(machine.received(Sample.event(4))) == StepSummary([4]))
            #expect(machine.last == 4)
        }

        @Test func gapIsReadOnceAndEarlyEventsFollow() {
            var machine = Sequencer()
            _ = machine.headLoaded(0)
            #expect(StepSummary(machine.received(Sample.event(3))) == StepSummary(read: .page(after: 0)))
            #expect(StepSummary(machine.received(Sample.event(4))) == .nothing)
            #expect(StepSummary(machine.pageLoaded(Sample.page(1...2, head: 4))) == StepSummary([1, 2, 3, 4]))
            #expect(StepSummary(machine.sweepReported(4)) == .nothing)
        }

        @Test func gapReadIsIgnoredAfterBusClosedGap() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.received(Sample.event(7))
            #expect(StepSummary(machine.received(Sample.event(6))) == StepSummary([6, 7]))
            #expect(StepSummary(machine.pageLoaded(Sample.page(6...7, head: 7))) == .nothing)
        }

        @Test func phantomReceivedBeforeReadIsDropped() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            #expect(StepSummary(machine.received(Sample.event(99))) == StepSummary(read: .page(after: 5)))
            #expect(StepSummary(machine.pageLoaded(Sample.page(nil, head: 5))) == StepSummary(phantoms: 1))
            #expect(StepSummary(machine.sweepReported(5)) == .nothing)
        }

        @Test func eventReceivedDuringReadIsNotAPhantom() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.received(Sample.event(7))
            #expect(StepSummary(machine.received(Sample.event(9))) == .nothing)
            let step = StepSummary(machine.pageLoaded(Sample.page(6...7, head: 7)))
            #expect(step == StepSummary([6, 7], read: .page(after: 7)))
            #expect(StepSummary(machine.pageLoaded(Sample.page(8...9, head: 9))) == StepSummary([8, 9]))
        }

        @Test func eventsOverEarlyEventLimitAreReadFromStore() {
            var machine = Sequencer()
            _ = machine.headLoaded(0)
            let top = Version(Sequencer.maximumEarlyEvents) + 10
            for version in 2...top { _ = machine.received(Sample.event(version)) }
            let first = StepSummary(machine.pageLoaded(Sample.page(1...1, head: top)))
            #expect(first.versions == Array(1...Version(Sequencer.maximumEarlyEvents) + 1))
            #expect(first.read == .page(after: Version(Sequencer.maximumEarlyEvents) + 1))
            let rest = StepSummary(machine.pageLoaded(Sample.page(Version(Sequencer.maximumEarlyEvents) + 2...top, head: top)))
            #expect(rest.versions.last == top)
            #expect(rest.read == nil)
        }

        @Test func versionSweepRepeatsFailedRead() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.received(Sample.event(7))
            machine.readFailed()
            #expect(StepSummary(machine.sweepReported(7)) == StepSummary(read: .page(after: 5)))
            #expect(StepSummary(machine.sweepReported(8)) == .nothing, "one read at a time")
        }

        @Test func skipsPrunedHistory() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.sweepReported(12)
            #expect(StepSummary(machine.pageLoaded(Sample.page(10...12, head: 12))) == StepSummary([10, 11, 12]))
        }

        @Test func detectsStoreRegression() {
            var machine = Sequencer()
            #expect(machine.isAhead(of: 0) == false)
            _ = machine.headLoaded(5)
            #expect(machine.isAhead(of: 4) == true)
            #expect(machine.isAhead(of: 5) == false)
        }

        /// Simulates a busy flow: by the time a read returns, events above its result have been received.
        @Test func startsDespiteEventsDuringEachRead() {
            do {
                var machine = Sequencer()
                var head: Version = 10
                for _ in 0..<100 where machine.last == nil {
                    head += 3
                    _ = machine.received(Sample.event(head))
                    _ = machine.headLoaded(head - 2)
                }
                #expect(machine.last != nil)
            }
        }

        @Test func phantomReceivedDuringStartDoesNotPreventStart() {
            do {
                var machine = Sequencer()
                _ = machine.received(Sample.event(99))
                var step = machine.headLoaded(5)
                for _ in 0..<10 {
                    switch step.read {
                    case .head: step = machine.headLoaded(5)
                    case .page: step = machine.pageLoaded(Sample.page(nil, head: 5))
                    case nil: break
                    }
                }
                #expect(step.read == nil)
                #expect(machine.last == 5)
            }
        }

        /// All events of the gap were pruned by age, including the newest ones.
        @Test func fullyPrunedHistoryEndsGapRead() {
            do {
                var machine = Sequencer()
                _ = machine.headLoaded(5)
                var step = machine.sweepReported(9)
                for _ in 0..<10 where step.read != nil { step = machine.pageLoaded(Sample.page(nil, head: 9)) }
                #expect(step.read == nil)
                #expect(machine.last == 9)
            }
        }
    }
}
