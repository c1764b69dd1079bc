import Testing

@testable import flowhub

@Suite struct DeliveryTrackerTests {
    @Test func windowIsFullUntilDeliveriesArrive() {
        var tracker = DeliveryTracker(flows: 2, subscribers: 5, start: 100)
        #expect(tracker.subscribers == [3, 2])
        #expect(tracker.hasRoom(window: 1))
        tracker.published(flow: 0)
        #expect(!tracker.hasRoom(window: 1))
        let counted = [99, 150, 150, 150].map { tracker.received(stamp: $0) }
        #expect(counted == [false, true, true, true], "the first stamp belongs to another run")
        #expect(tracker.hasRoom(window: 1))
    }

    @Test func lateDeliveryReducesWrittenOffCount() {
        var tracker = DeliveryTracker(flows: 1, subscribers: 3, start: 0)
        tracker.published(flow: 0)
        tracker.writeOff(now: 500)
        #expect(tracker.due == 0)
        #expect(tracker.writtenOff == 3)
        _ = tracker.received(stamp: 10)
        #expect(tracker.writtenOff == 2)
    }
}
