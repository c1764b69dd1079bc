import Testing

@testable import FlowHTTP

struct ResponsePaceTests {
    /// The first second in which the client is too slow; `nil` if it is not within ten minutes.
    private static func end(unread start: Int, reading rate: Int, refilled: Int = 0) -> Int? {
        var pace = ResponsePace()
        var unread = start
        pace.sent(start)
        for second in 1...600 {
            unread = max(0, unread - rate)
            if pace.isTooSlow(unread: unread, HTTPConfiguration()) { return second }
            if unread < start / 2 {
                unread += refilled
                pace.sent(refilled)
            }
        }
        return nil
    }

    @Test func endsResponseToClientThatTrickles() {
        #expect(Self.end(unread: 1_000_000, reading: 0) == 60)
        #expect(Self.end(unread: 1_000_000, reading: 255) == 60)
        #expect(Self.end(unread: 1_000_000, reading: 256) == nil)
        #expect(Self.end(unread: 20_000, reading: 300, refilled: 10_000) == nil, "a long download")
        #expect(Self.end(unread: 20_000, reading: 200, refilled: 10_000) == 60)
    }
}
