import NIOCore
import Testing

@testable import FlowHTTP

@Suite struct UploadPaceTests {
    private static let configuration: HTTPConfiguration = {
        var configuration = HTTPConfiguration()
        configuration.importBytesPerSecond = 100
        configuration.importGraceSeconds = 3
        configuration.importSeconds = 60
        return configuration
    }()
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private static func check(_ pace: inout UploadPace, at second: Int64, isWaiting: Bool = true) -> UploadPace.Verdict {
        pace.check(now: Self.start + .seconds(second), isWaiting: isWaiting, Self.configuration)
    }

    @Test func requiresLeastRateInEachPeriod() {
        var pace = UploadPace(now: Self.start)
        pace.received(1_000_000)
        for second in 1...3 { #expect(Self.check(&pace, at: Int64(second)) == .inTime) }
        // What was sent in one period does not count in the next.
        pace.received(299)
        #expect(Self.check(&pace, at: 4) == .inTime)
        #expect(Self.check(&pace, at: 5) == .inTime)
        #expect(Self.check(&pace, at: 6) == .tooSlow)
    }

    @Test func doesNotCountTimeInWhichTheHubIsSlower() {
        var pace = UploadPace(now: Self.start)
        for second in 1...50 { #expect(Self.check(&pace, at: Int64(second), isWaiting: false) == .inTime) }
        pace.received(300)
        for second in 51...53 { #expect(Self.check(&pace, at: Int64(second)) == .inTime) }
    }

    @Test func limitsTotalTime() {
        var pace = UploadPace(now: Self.start)
        pace.received(1_000_000)
        #expect(Self.check(&pace, at: 59, isWaiting: false) == .inTime)
        #expect(Self.check(&pace, at: 60, isWaiting: false) == .tooLong)
    }
}
