import FlowCore
import Testing

extension CoreStreams {
    @Suite struct FlowReaderModelTests {
        fileprivate static func firstViolation(seeds: Range<UInt64>) -> String? {
            for seed in seeds {
                do throws(Violation) { try FlowReaderModel(seed: seed).run(steps: 120) } catch { return "seed \(seed): \(error)" }
            }
            return nil
        }

        @Test func deliversSnapshotAndEveryVersionOrResync() {
            #expect(Self.firstViolation(seeds: 0..<2_000) == nil)
        }

        @Test func modelSendsEventsAndCoversResyncReasons() throws {
            var sent = 0
            var reasons: Set<ResyncReason> = []
            for seed in 0..<200 as Range<UInt64> {
                let model = FlowReaderModel(seed: seed)
                try model.run(steps: 120)
                sent += model.sent
                reasons.formUnion(model.resyncs)
            }
            #expect(sent > 1_000)
            #expect(reasons == [.historyPruned, .epoch, .cursorAhead, .badCursor])
        }

        #if DEBUG
        // The next tests run in separate processes, because an injected fault is active in the whole process.
        @Test func modelDetectsSkippedResync() async {
            await #expect(processExitsWith: .success) {
                InjectedFault.inject([.resyncOff])
                #expect(CoreStreams.FlowReaderModelTests.firstViolation(seeds: 0..<200) != nil)
            }
        }

        @Test func modelDetectsUncheckedHistoryPage() async {
            await #expect(processExitsWith: .success) {
                InjectedFault.inject([.pageCheckOff])
                #expect(CoreStreams.FlowReaderModelTests.firstViolation(seeds: 0..<200) != nil)
            }
        }

        @Test func modelDetectsSlowSubscriberThatSkipsVersions() async {
            await #expect(processExitsWith: .success) {
                InjectedFault.inject([.slowReaderSkips])
                #expect(CoreStreams.FlowReaderModelTests.firstViolation(seeds: 0..<200) != nil)
            }
        }
        #endif
    }
}
