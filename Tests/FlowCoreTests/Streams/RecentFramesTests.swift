import FlowCore
import NIOCore
import Testing

extension CoreStreams {
    @Suite struct RecentFramesTests {
        private static func limit(frames: Int, bytes: Int = .max) -> RecentFrames.Limit {
            var limit = RecentFrames.Limit()
            limit.frames = frames
            limit.bytes = bytes
            return limit
        }

        private static func frame(_ version: Version, bytes: Int) -> Frame {
            let text = String(repeating: "x", count: bytes)
            let event = FlowEvent(
                version: version, type: Sample.type("t"), payload: Sample.json(#"{"data":"\#(text)"}"#),
                createdAt: Timestamp(milliseconds: 0))
            return .durable(event, of: Sample.flow, epoch: Sample.epoch)
        }

        private static func bytes(in recent: RecentFrames) -> Int {
            recent.page(after: recent.base, maximumBytes: .max)?.reduce(0) { $0 + $1.block.size } ?? 0
        }

        @Test func pagesStartAfterPositionAndRespectByteLimit() throws {
            var recent = RecentFrames(base: 5)
            #expect(recent.page(after: 5, maximumBytes: 1_000) == nil)
            for version in 6...9 as ClosedRange<Version> { recent.append(Sample.frame(version)) }
            #expect(recent.base == 5)
            #expect(recent.last == 9)
            #expect(recent.page(after: 4, maximumBytes: 1_000_000) == nil, "does not reach back that far")
            #expect(recent.page(after: 9, maximumBytes: 1_000_000) == nil, "nothing above")
            #expect(recent.page(after: 99, maximumBytes: 1_000_000) == nil)
            #expect(recent.page(after: 5, maximumBytes: 1_000_000)?.map(\.version) == [6, 7, 8, 9])
            #expect(recent.page(after: 7, maximumBytes: 1)?.map(\.version) == [8], "at least one")
            let size = Sample.frame(6).block.size
            #expect(recent.page(after: 5, maximumBytes: 2 * size)?.map(\.version) == [6, 7])
            #expect(recent.page(after: 5, maximumBytes: 2 * size - 1)?.map(\.version) == [6])
        }

        @Test func gapDiscardsEarlierFrames() {
            var recent = RecentFrames(base: 0)
            recent.append(Sample.frame(1))
            recent.append(Sample.frame(4))
            #expect(recent.base == 3)
            #expect(recent.page(after: 0, maximumBytes: .max) == nil)
            #expect(recent.page(after: 3, maximumBytes: .max)?.map(\.version) == [4])
        }

        @Test func frameCountIsBounded() {
            var recent = RecentFrames(base: 0, limit: Self.limit(frames: 16))
            for version in 1...100 as ClosedRange<Version> {
                recent.append(Sample.frame(version))
                #expect(recent.last == version)
                #expect(recent.last - recent.base <= 16)
                #expect(recent.last - recent.base >= min(version, 14))
            }
        }

        @Test func byteCountIsBounded() {
            var recent = RecentFrames(base: 0, limit: Self.limit(frames: 256, bytes: 10_000))
            for version in 1...1_000 as ClosedRange<Version> {
                recent.append(Self.frame(version, bytes: 500))
                #expect(Self.bytes(in: recent) <= 10_000)
            }
        }

        @Test func keepsNewestFrameOfAnySize() {
            var recent = RecentFrames(base: 0, limit: Self.limit(frames: 4, bytes: 100))
            recent.append(Self.frame(1, bytes: 1_000))
            recent.append(Self.frame(2, bytes: 1_000))
            #expect(recent.page(after: 1, maximumBytes: 1)?.map(\.version) == [2])
        }

        @Test func byteCountIsBoundedWhenEventsGrow() {
            do {
                var recent = RecentFrames(base: 0, limit: Self.limit(frames: 256, bytes: 20_000))
                for version in 1...100 as ClosedRange<Version> { recent.append(Self.frame(version, bytes: 1)) }
                for version in 101...200 as ClosedRange<Version> { recent.append(Self.frame(version, bytes: 15_000)) }
                #expect(Self.bytes(in: recent) <= 20_000)
            }
        }
    }
}
