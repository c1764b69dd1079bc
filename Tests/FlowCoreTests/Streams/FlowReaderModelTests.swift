import FlowCore
import Testing

extension CoreStreams {
    @Suite struct FlowReaderModelTests {
        private static func firstViolation(seeds: Range<UInt64>, fault: TestedReader.Fault? = nil) -> String? {
            for seed in seeds {
                do throws(Violation) { try FlowReaderModel(seed: seed, fault: fault).run(steps: 120) } catch {
                    return "seed \(seed): \(error)"
                }
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

        @Test(arguments: TestedReader.Fault.allCases) func modelDetectsFault(_ fault: TestedReader.Fault) {
            #expect(Self.firstViolation(seeds: 0..<200, fault: fault) != nil)
        }
    }
}
