import Testing

@testable import FlowHTTP

struct ResponsePaceTests {
    /// The first second in which the client is too slow; `nil` if it is not within ten minutes.
    /// - Parameter earlier: unread bytes of pipelined requests before.
    private static func end(unread start: Int, after earlier: Int = 0, reading rate: Int, refilled: Int = 0) -> Int? {
        var pace = ResponsePace(unread: earlier)
        var unread = earlier + start
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

    @Test func unreadBytesOfEarlierResponsesCountAsSent() {
        #expect(Self.end(unread: 20_000, after: 500_000, reading: 300) == nil)
        #expect(Self.end(unread: 20_000, after: 500_000, reading: 200) == 60)
    }
}
