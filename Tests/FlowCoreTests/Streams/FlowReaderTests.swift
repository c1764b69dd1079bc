import FlowCore
import Testing

extension CoreStreams {
    @Suite struct FlowReaderTests {
        @Test func newSubscriberGetsSnapshotAndGoesLive() {
            var reader = FlowReader(.snapshot, head: 5)
            #expect(reader.hasPosition == false)
            #expect(reader.next(head: 5, isWritable: true) == .loadSnapshot)
            #expect(reader.next(head: 5, isWritable: true) == .wait)
            #expect(reader.snapshotLoaded(version: 5) == nil)
            #expect(reader.hasPosition == true)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(sendsCaughtUp: true))
            #expect(reader.isLive == true)
            #expect(reader.offer(5) == .discard)
            #expect(reader.offer(6) == .accept)
            #expect(reader.cursor == 6)
        }

        /// The stream may continue with other flows, and its cursor then still contains the ended flow's position.
        @Test func endedReaderKeepsPositionOnlyInItsEpoch() {
            var reader = FlowReader(.after(3), head: 3)
            reader.end()
            #expect(reader.hasPosition == true)
            reader.reset(.epoch)
            #expect(reader.hasPosition == false)
            #expect(reader.hasEnded == true)
            #expect(reader.next(head: 9, isWritable: true) == .wait)
            var newSubscriber = FlowReader(.snapshot, head: 3)
            newSubscriber.end()
            #expect(newSubscriber.hasPosition == false)
        }

        @Test func snapshotOlderThanHeadIsFollowedByHistoryPage() {
            var reader = FlowReader(.snapshot, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            _ = reader.snapshotLoaded(version: 5)
            #expect(reader.next(head: 7, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 4...7, storeHead: nil) == .send(from: 2))
            #expect(reader.next(head: 7, isWritable: true) == .goLive(sendsCaughtUp: true))
        }

        @Test func snapshotNewerThanHeadDiscardsEventsUpToItsVersion() {
            var reader = FlowReader(.snapshot, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            _ = reader.snapshotLoaded(version: 8)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(sendsCaughtUp: true))
            #expect(reader.offer(6) == .discard)
            #expect(reader.offer(8) == .discard)
            #expect(reader.offer(9) == .accept)
        }

        @Test func resumingSubscriberGetsMissedEvents() {
            var reader = FlowReader(.after(3), head: 5)
            #expect(reader.next(head: 5, isWritable: false) == .wait)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: 3))
            #expect(reader.pageLoaded(versions: 4...5, storeHead: 5) == .send(from: 0))
            #expect(reader.next(head: 5, isWritable: true) == .goLive(sendsCaughtUp: true))
        }

        @Test func cursorAheadOfInstanceIsCheckedAgainstStore() {
            var reader = FlowReader(.after(7), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: 7))
            #expect(reader.pageLoaded(versions: nil, storeHead: 7) == .send(from: 0))
            #expect(reader.next(head: 5, isWritable: true) == .goLive(sendsCaughtUp: true))

            var aheadOfStore = FlowReader(.after(7), head: 5)
            _ = aheadOfStore.next(head: 5, isWritable: true)
            #expect(aheadOfStore.pageLoaded(versions: nil, storeHead: 6) == .resync(.cursorAhead))
            #expect(aheadOfStore.next(head: 6, isWritable: true) == .loadSnapshot)
            let notice = aheadOfStore.snapshotLoaded(version: 6)
            #expect(notice?.reason == .cursorAhead)
            #expect(notice?.from == 7)
        }

        @Test func prunedHistoryCausesResync() {
            var reader = FlowReader(.after(3), head: 9)
            _ = reader.next(head: 9, isWritable: true)
            #expect(reader.pageLoaded(versions: 5...9, storeHead: 9) == .resync(.historyPruned))
            #expect(reader.hasPosition == false)
            _ = reader.next(head: 9, isWritable: true)
            let notice = reader.snapshotLoaded(version: 9)
            #expect(notice?.reason == .historyPruned)
            #expect(notice?.from == 3)

            var all = FlowReader(.after(3), head: 9)
            _ = all.next(head: 9, isWritable: true)
            #expect(all.pageLoaded(versions: nil, storeHead: 9) == .resync(.historyPruned))
        }

        @Test(arguments: ResyncReason.allCases)
        func resyncPrecedesSnapshotForInvalidCursor(_ reason: ResyncReason) {
            var reader = FlowReader(.resync(reason), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadSnapshot)
            let notice = reader.snapshotLoaded(version: 5)
            #expect(notice?.reason == reason)
            #expect(notice?.from == nil)
            #expect(reader.pendingResync == nil)
        }

        @Test func readerWithoutSnapshotStartsAtHead() {
            var reader = FlowReader(.head, head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .goLive(sendsCaughtUp: true))
            #expect(reader.offer(6) == .accept)
        }

        @Test func slowSubscriberKeepsPosition() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            reader.fellBehind()
            #expect(reader.offer(6) == .discard)
            #expect(reader.next(head: 8, isWritable: false) == .wait)
            #expect(reader.next(head: 8, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 6...8, storeHead: nil) == .send(from: 0))
            #expect(reader.next(head: 8, isWritable: true) == .goLive(sendsCaughtUp: true))
        }

        @Test func gapSendsLiveReaderBackToHistory() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            #expect(reader.offer(7) == .fallBehind)
            #expect(reader.next(head: 7, isWritable: true) == .loadPage(after: 5))
            #expect(reader.pageLoaded(versions: 6...7, storeHead: nil) == .send(from: 0))
            #expect(reader.next(head: 7, isWritable: true) == .goLive(sendsCaughtUp: true))
        }

        @Test func newEpochCausesResyncWithSnapshot() {
            var reader = FlowReader(.after(9), head: 9)
            _ = reader.next(head: 9, isWritable: true)
            reader.reset(.epoch)
            #expect(reader.next(head: 3, isWritable: true) == .loadSnapshot)
            reader.reset(.epoch)
            _ = reader.next(head: 3, isWritable: true)
            let notice = reader.snapshotLoaded(version: 3)
            #expect(notice?.reason == .epoch)
            #expect(notice?.from == 9)
            #expect(reader.next(head: 3, isWritable: true) == .goLive(sendsCaughtUp: true))
        }

        @Test func cursorNeverMovesBackward() {
            var reader = FlowReader(.head, head: 5)
            _ = reader.next(head: 5, isWritable: true)
            reader.advance(through: 9)
            #expect(reader.cursor == 9)
            reader.advance(through: 7)
            #expect(reader.cursor == 9)
        }

        @Test func maximumCursorDoesNotOverflow() {
            var reader = FlowReader(.after(.max), head: 5)
            #expect(reader.next(head: 5, isWritable: true) == .loadPage(after: .max))
            #expect(reader.pageLoaded(versions: nil, storeHead: 5) == .resync(.cursorAhead))
        }
    }
}
