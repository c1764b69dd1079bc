import FlowCore
import Testing

extension CoreStreams {
    @Suite struct FlowReaderTests {
        @Test func aNewcomerGetsTheStateAndGoesLive() {
            var reader = FlowReader(.snapshot, head: 5)
            #expect(reader.hasPlace == false)
            #expect(reader.next(head: 5, isWritable: true) == .loadSnapshot)
            #expect(reader.next(head: 5, isWritable: true) == .wait)
            #expect(reader.snapshotLoaded(version: 5) == nil)
            #expect(reader.hasPlace == true)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(announces: true))
            #expect(reader.isLive == true)
            #expect(reader.offered(5) == .drop)
            #expect(reader.offered(6) == .take)
            #expect(reader.cursor == 6)
        }

        /// Its connection may go on with other flows, and then the cursor names it.
        @Test func whoHasEndedKeepsItsPlaceInThisHistoryOnly() {
            var reader = FlowReader(.after(3), head: 3)
            reader.end()
            #expect(reader.hasPlace == true)
            reader.reset(.epoch)
            #expect(reader.hasPlace == false)
            #expect(reader.hasEnded == true)
            #expect(reader.next(head: 9, isWritable: true) == .wait)
            var newcomer = FlowReader(.snapshot, head: 3)
            newcomer.end()
            #expect(newcomer.hasPlace == false)
        }

        @Test func aStateOlderThanTheHeadIsFollowedByThePageBetween() {
            var reader = FlowReader(.snapshot, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            _ = reader.snapshotLoaded(version: 5)
            #expect(reader.next(head: 7, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 4...7, storeHead: nil) == .send(from: 2))
            #expect(reader.next(head: 7, isWritable: true) == .goLive(announces: true))
        }

        @Test func aStateNewerThanTheHeadWaitsForTheHead() {
            var reader = FlowReader(.snapshot, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            _ = reader.snapshotLoaded(version: 8)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(announces: true))
            #expect(reader.offered(6) == .drop)
            #expect(reader.offered(8) == .drop)
            #expect(reader.offered(9) == .take)
        }

        @Test func aResumerGetsWhatItMissed() {
            var reader = FlowReader(.after(3), head: 5)
            #expect(reader.next(head: 5, isWritable: false) == .wait)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: 3))
            #expect(reader.pageLoaded(versions: 4...5, storeHead: 5) == .send(from: 0))
            #expect(reader.next(head: 5, isWritable: true) == .goLive(announces: true))
        }

        @Test func aResumerAheadOfThisInstanceIsJudgedByTheStore() {
            var reader = FlowReader(.after(7), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: 7))
            #expect(reader.pageLoaded(versions: nil, storeHead: 7) == .send(from: 0))
            #expect(reader.next(head: 5, isWritable: true) == .goLive(announces: true))

            var liar = FlowReader(.after(7), head: 5)
            _ = liar.next(head: 5, isWritable: true)
            #expect(liar.pageLoaded(versions: nil, storeHead: 6) == .resync(.cursorAhead))
            #expect(liar.next(head: 6, isWritable: true) == .loadSnapshot)
            let notice = liar.snapshotLoaded(version: 6)
            #expect(notice?.reason == .cursorAhead)
            #expect(notice?.from == 7)
        }

        @Test func prunedHistoryIsSaid() {
            var reader = FlowReader(.after(3), head: 9)
            _ = reader.next(head: 9, isWritable: true)
            #expect(reader.pageLoaded(versions: 5...9, storeHead: 9) == .resync(.historyPruned))
            #expect(reader.hasPlace == false)
            _ = reader.next(head: 9, isWritable: true)
            let notice = reader.snapshotLoaded(version: 9)
            #expect(notice?.reason == .historyPruned)
            #expect(notice?.from == 3)

            var all = FlowReader(.after(3), head: 9)
            _ = all.next(head: 9, isWritable: true)
            #expect(all.pageLoaded(versions: nil, storeHead: 9) == .resync(.historyPruned))
        }

        @Test(arguments: ResyncReason.allCases)
        func aLostCursorIsSaidBeforeTheSnapshot(_ reason: ResyncReason) {
            var reader = FlowReader(.resync(reason), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadSnapshot)
            let notice = reader.snapshotLoaded(version: 5)
            #expect(notice?.reason == reason)
            #expect(notice?.from == nil)
            #expect(reader.pendingResync == nil)
        }

        @Test func withoutASnapshotItBeginsAtTheHead() {
            var reader = FlowReader(.head, head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(announces: true))
            #expect(reader.offered(6) == .take)
        }

        @Test func aSlowSubscriberKeepsItsPlace() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            reader.fellBehind()
            #expect(reader.offered(6) == .drop)
            #expect(reader.next(head: 8, isWritable: false) == .wait)
            #expect(reader.next(head: 8, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 6...8, storeHead: nil) == .send(from: 0))
            #expect(reader.next(head: 8, isWritable: true) == .goLive(announces: true))
        }

        @Test func aHoleMakesItAReaderAgain() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            #expect(reader.offered(7) == .fallBehind)
            #expect(reader.next(head: 7, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 6...7, storeHead: nil) == .send(from: 0))
            do {
                #expect(reader.next(head: 7, isWritable: true) == .goLive(announces: true))
            }
        }

        @Test func anotherHistoryBeginsItAnew() {
            var reader = FlowReader(.after(9), head: 9)
            _ = reader.next(head: 9, isWritable: true)
            reader.reset(.epoch)
            #expect(reader.next(head: 3, isWritable: true) == .loadSnapshot)
            reader.reset(.epoch)
            _ = reader.next(head: 3, isWritable: true)
            let notice = reader.snapshotLoaded(version: 3)
            #expect(notice?.reason == .epoch)
            #expect(notice?.from == 9)
            #expect(reader.next(head: 3, isWritable: true) == .goLive(announces: true))
        }

        @Test func sentInOnePiece() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            reader.tookAll(through: 9)
            #expect(reader.cursor == 9)
            reader.tookAll(through: 7)
            #expect(reader.cursor == 9)
        }

        @Test func theLargestCursorIsNoTrap() {
            var reader = FlowReader(.after(.max), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: .max))
            #expect(reader.pageLoaded(versions: nil, storeHead: 5) == .resync(.cursorAhead))
        }
    }
}
