import FlowCore
import Synchronization
import Testing

extension CoreStreams {
    @Suite struct WatchTableTests {
        private static let higher = Epoch(counter: 8, random: "b")

        @Test func fromTheFirstWatchToTheLast() {
            let fixture = TableFixture()
            let table = fixture.table
            table.watch(Sample.flow, outlet: 0)
            #expect(fixture.bus.state.withLock { $0.subscribed } == [Sample.flow])
            #expect(fixture.work().isEmpty, "the subscription comes first")
            table.subscribed(to: Sample.flow)
            table.subscribed(to: Sample.flow)
            #expect(fixture.work() == ["open f"])
            table.opened(Sample.flow, Sample.record(3), last: [], epoch: Sample.epoch)
            #expect(fixture.outlets[0].take() == ["f opened 3 7.a +0"])
            table.received([TableFixture.message(3), TableFixture.message(4), TableFixture.message(4)])
            #expect(fixture.outlets[0].take() == ["f events [4] head 4"])
            #expect(table.head(of: Sample.flow)?.version == 4)
            table.unwatch(Sample.flow, outlet: 0)
            #expect(fixture.bus.state.withLock { $0.unsubscribed } == [Sample.flow])
            table.received([TableFixture.message(5)])
            table.loaded(Sample.flow, Sample.page(5...5, head: 5), epoch: Sample.epoch)
            table.opened(Sample.flow, Sample.record(5), last: [], epoch: Sample.epoch)
            #expect(fixture.outlets[0].take().isEmpty)
            #expect(!table.isWatched(Sample.flow))
        }

        @Test func aGapIsReadAndDeliveredInOrder() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            fixture.table.received([TableFixture.message(6), TableFixture.message(7)])
            #expect(fixture.work() == ["page f 3"])
            #expect(fixture.outlets[0].take().isEmpty)
            fixture.table.loaded(Sample.flow, Sample.page(4...6, head: 7), epoch: Sample.epoch)
            #expect(fixture.outlets[0].take() == ["f events [4, 5, 6, 7] head 7"])
        }

        @Test func flowsDoNotDisturbEachOther() {
            let fixture = TableFixture()
            let flows = (0..<40).map { Sample.id("f\($0)") }
            for flow in flows { fixture.open(flow, at: 1) }
            #expect(Set(fixture.table.watchedFlows()) == Set(flows))
            for flow in flows { fixture.table.received([TableFixture.message(2, of: flow)]) }
            #expect(fixture.outlets[0].take() == flows.map { "\($0) events [2] head 2" })
        }

        @Test func aFlowThatDoesNotExist() {
            let fixture = TableFixture()
            fixture.open(at: 0)
            #expect(fixture.table.isOpenAndAbsent(Sample.flow))
            fixture.table.received([TableFixture.message(1)])
            #expect(!fixture.table.isOpenAndAbsent(Sample.flow))
            #expect(fixture.outlets[0].take() == ["f events [1] head 1"])
        }

        @Test func aSubscriptionThatIsNotConfirmedOpensAllTheSame() {
            let fixture = TableFixture()
            fixture.table.watch(Sample.flow, outlet: 0)
            fixture.table.tick()
            #expect(fixture.work().isEmpty)
            fixture.table.tick()
            #expect(fixture.work() == ["open f"])
            fixture.table.tick()
            #expect(fixture.work().isEmpty, "one read at a time")
            fixture.table.openFailed(Sample.flow, epoch: Sample.epoch)
            fixture.table.tick()
            #expect(fixture.work() == ["open f"])
            fixture.table.opened(Sample.flow, nil, last: [], epoch: Sample.epoch)
            fixture.table.subscribed(to: Sample.flow)
            #expect(fixture.work().isEmpty)
        }

        @Test func aSecondOutletGetsTheStateAndWhatFollows() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            fixture.table.watch(Sample.flow, outlet: 1)
            #expect(fixture.work() == ["open f"])
            fixture.table.opened(Sample.flow, Sample.record(3), last: [], epoch: Sample.epoch)
            #expect(fixture.outlets[1].take() == ["f opened 3 7.a +0"])
            fixture.table.received([TableFixture.message(4)])
            #expect(fixture.outlets[1].take() == ["f events [4] head 4"])
            fixture.table.unwatch(Sample.flow, outlet: 0)
            #expect(fixture.bus.state.withLock { $0.unsubscribed }.isEmpty)
            fixture.table.received([TableFixture.message(5)])
            #expect(fixture.outlets[0].take().filter { $0.contains("[5]") }.isEmpty)
            #expect(fixture.outlets[1].take() == ["f events [5] head 5"])
        }

        /// An event that is delivered while the store is read for a second outlet comes before that outlet's opening, and
        /// an outlet that is not open passes over it.
        @Test func aSecondOutletMissesNothingThatCameWhileItWasOpened() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            fixture.table.watch(Sample.flow, outlet: 1)
            fixture.table.received([TableFixture.message(4)])
            _ = fixture.outlets[1].take()
            _ = fixture.work()
            fixture.table.opened(Sample.flow, Sample.record(3), last: [], epoch: Sample.epoch)
            let told = fixture.outlets[1].take()
            do {
                #expect(!told.contains("f opened 3 7.a +0") || told.contains { $0.contains("[4]") })
            }
        }

        @Test func aSecondOutletWhoseReadFailedIsOpenedLater() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            fixture.table.watch(Sample.flow, outlet: 1)
            _ = fixture.work()
            fixture.table.openFailed(Sample.flow, epoch: Sample.epoch)
            for _ in 0..<3 { fixture.table.tick() }
            do { #expect(fixture.work() == ["open f"]) }
        }

        @Test func lowerEpochsAreDroppedAndHigherOnesLeadToASweep() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            fixture.table.received([TableFixture.message(4, epoch: Epoch(counter: 6, random: "z"))])
            #expect(fixture.work().isEmpty)
            fixture.table.received([TableFixture.message(4, epoch: Self.higher)])
            #expect(fixture.work() == ["sweep"])
            #expect(fixture.outlets[0].take().isEmpty)
        }

        @Test func anotherEpochBeginsEveryFlowAnew() {
            let fixture = TableFixture()
            fixture.open(at: 9)
            fixture.table.reset(to: Self.higher)
            #expect(fixture.outlets[0].take() == ["reset 8.b"])
            #expect(fixture.work() == ["open f"])
            fixture.table.received([TableFixture.message(10)])
            fixture.table.opened(Sample.flow, Sample.record(2), last: [], epoch: Self.higher)
            #expect(fixture.outlets[0].take() == ["f opened 2 8.b +0"])
            fixture.table.received([TableFixture.message(3, epoch: Self.higher)])
            #expect(fixture.outlets[0].take() == ["f events [3] head 3"])
        }

        @Test func aPageOfTheOldHistoryIsNotTakenForTheNewOne() {
            let fixture = TableFixture()
            fixture.open(at: 9)
            fixture.table.received([TableFixture.message(12)])
            fixture.table.reset(to: Self.higher)
            fixture.table.opened(Sample.flow, Sample.record(2), last: [], epoch: Self.higher)
            _ = fixture.outlets[0].take()
            // Read before the reset, answered after it.
            fixture.table.loaded(Sample.flow, Sample.page(10...12, head: 12), epoch: Sample.epoch)
            do {
                #expect(fixture.outlets[0].take().isEmpty)
            }
        }

        @Test func theSweepFindsWhatTheBusLost() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            #expect(
                !fixture.table.surveyed([Sample.flow], heads: [Sample.head(3)], delivered: fixture.table.delivered([Sample.flow]))
            )
            #expect(fixture.work().isEmpty)
            #expect(
                !fixture.table.surveyed([Sample.flow], heads: [Sample.head(5)], delivered: fixture.table.delivered([Sample.flow]))
            )
            #expect(fixture.work() == ["page f 3"])
            #expect(
                !fixture.table.surveyed(
                    [Sample.flow, Sample.id("other")], heads: [], delivered: fixture.table.delivered([Sample.flow])) == false,
                "gone: it went back")
        }

        /// The heads were read, and before they were looked at the next event was committed and delivered.
        @Test func anEventDuringTheSweepIsNoRestore() {
            let fixture = TableFixture()
            fixture.open(at: 3)
            let heads = [Sample.head(3)]
            let delivered = fixture.table.delivered([Sample.flow])
            fixture.table.received([TableFixture.message(4)])
            do {
                #expect(!fixture.table.surveyed([Sample.flow], heads: heads, delivered: delivered))
            }
        }

        @Test func severalEventsOfOneCommitSayWhoseTheyAre() {
            let fixture = TableFixture()
            fixture.open(at: 0)
            fixture.table.received([TableFixture.message(1, head: 2)])
            do {
                #expect(fixture.outlets[0].take() != ["f events [1] head -1"])
            }
        }

        @Test func transientsAreDeliveredOnlyOnceOpen() {
            let fixture = TableFixture()
            let tick = TransientEvent(type: Sample.type("tick"), data: .null, createdAt: Timestamp(milliseconds: 0))
            let message = BusMessage(flow: Sample.flow, account: "1", epoch: Sample.epoch, content: .transient(tick))
            fixture.table.watch(Sample.flow, outlet: 0)
            fixture.table.received([message])
            #expect(fixture.outlets[0].take().isEmpty)
            fixture.open(at: 1)
            fixture.table.received([message])
            #expect(fixture.outlets[0].take() == ["f tick of 1"])
        }

        @Test func manyThreadsKeepTheOrder() async {
            let fixture = TableFixture()
            fixture.open(at: 0)
            await withTaskGroup { group in
                for worker in 0..<8 {
                    group.addTask {
                        for version in 1...400 as ClosedRange<Version> where (Int(version) + worker) % 3 != 0 {
                            fixture.table.received([TableFixture.message(version)])
                            if version % 50 == 0 {
                                fixture.table.loaded(Sample.flow, Sample.page(1...version, head: version), epoch: Sample.epoch)
                            }
                        }
                    }
                }
            }
            fixture.table.loaded(Sample.flow, Sample.page(1...400, head: 400), epoch: Sample.epoch)
            let versions = fixture.outlets[0].take().flatMap { line in
                line.drop { $0 != "[" }.dropFirst().prefix { $0 != "]" }.split(separator: ", ").compactMap { Int($0) }
            }
            #expect(versions == Array(1...400))
        }
    }
}
