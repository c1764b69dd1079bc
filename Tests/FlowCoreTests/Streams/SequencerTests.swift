import FlowCore
import Testing

/// A step in a form that can be compared.
struct StepSummary: Hashable {
    var versions: [Version] = []
    var readAfter: Version?
    var phantoms = 0

    static let nothing = StepSummary()

    init(_ versions: [Version] = [], readAfter: Version? = nil, phantoms: Int = 0) {
        self.versions = versions
        self.readAfter = readAfter
        self.phantoms = phantoms
    }

    init(_ step: Sequencer.Step) {
        self.init(step.events.map(\.version), readAfter: step.readAfter, phantoms: step.phantoms)
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
            #expect(StepSummary(machine.received(Sample.event(3))) == StepSummary(readAfter: 0))
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
            #expect(StepSummary(machine.received(Sample.event(99))) == StepSummary(readAfter: 5))
            #expect(StepSummary(machine.pageLoaded(Sample.page(nil, head: 5))) == StepSummary(phantoms: 1))
            #expect(StepSummary(machine.sweepReported(5)) == .nothing)
        }

        @Test func eventReceivedDuringReadIsNotAPhantom() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.received(Sample.event(7))
            #expect(StepSummary(machine.received(Sample.event(9))) == .nothing)
            let step = StepSummary(machine.pageLoaded(Sample.page(6...7, head: 7)))
            #expect(step == StepSummary([6, 7], readAfter: 7))
            #expect(StepSummary(machine.pageLoaded(Sample.page(8...9, head: 9))) == StepSummary([8, 9]))
        }

        @Test func eventsOverEarlyEventLimitAreReadFromStore() {
            var machine = Sequencer()
            _ = machine.headLoaded(0)
            let top = Version(Sequencer.maximumEarlyEvents) + 10
            for version in 2...top { _ = machine.received(Sample.event(version)) }
            let first = StepSummary(machine.pageLoaded(Sample.page(1...1, head: top)))
            #expect(first.versions == Array(1...Version(Sequencer.maximumEarlyEvents) + 1))
            #expect(first.readAfter == Version(Sequencer.maximumEarlyEvents) + 1)
            let rest = StepSummary(machine.pageLoaded(Sample.page(Version(Sequencer.maximumEarlyEvents) + 2...top, head: top)))
            #expect(rest.versions.last == top)
            #expect(rest.readAfter == nil)
        }

        @Test func versionSweepRepeatsFailedRead() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.received(Sample.event(7))
            machine.readFailed()
            #expect(StepSummary(machine.sweepReported(7)) == StepSummary(readAfter: 5))
            #expect(StepSummary(machine.sweepReported(8)) == .nothing, "one read at a time")
        }

        @Test func skipsPrunedHistory() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            _ = machine.sweepReported(12)
            #expect(StepSummary(machine.pageLoaded(Sample.page(10...12, head: 12))) == StepSummary([10, 11, 12]))
        }

        /// Simulates a busy flow: by the time a read returns, events above its result have been received.
        @Test func startsDespiteEventsDuringEachRead() {
            var machine = Sequencer()
            var head: Version = 10
            for _ in 0..<100 where machine.last == nil {
                head += 3
                _ = machine.received(Sample.event(head))
                _ = machine.headLoaded(head - 2)
            }
            #expect(machine.last != nil)
        }

        @Test func phantomReceivedDuringStartDoesNotPreventStart() {
            var machine = Sequencer()
            _ = machine.received(Sample.event(99))
            var step = machine.headLoaded(5)
            for _ in 0..<10 where step.readAfter != nil { step = machine.pageLoaded(Sample.page(nil, head: 5)) }
            #expect(step.readAfter == nil)
            #expect(machine.last == 5)
        }

        /// All events of the gap were pruned by age, including the newest ones.
        @Test func fullyPrunedHistoryEndsGapRead() {
            var machine = Sequencer()
            _ = machine.headLoaded(5)
            var step = machine.sweepReported(9)
            for _ in 0..<10 where step.readAfter != nil { step = machine.pageLoaded(Sample.page(nil, head: 9)) }
            #expect(step.readAfter == nil)
            #expect(machine.last == 9)
        }
    }
}
