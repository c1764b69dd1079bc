import FlowCore
import Testing

extension CoreStreams {
    @Suite struct SequencerModelTests {
        private static func firstViolation(seeds: Range<UInt64>, steps: Int, skipsGaps: Bool = false) -> String? {
            for seed in seeds {
                do throws(Violation) { try SequencerModel(seed: seed, skipsGaps: skipsGaps).run(steps: steps) } catch {
                    return "seed \(seed): \(error)"
                }
            }
            return nil
        }

        @Test func everyVersionIsDeliveredOnceInOrder() {
            #expect(Self.firstViolation(seeds: 0..<1_500, steps: 150) == nil)
        }

        @Test func modelCoversDeliveriesAndPhantoms() throws {
            var deliveries = 0
            var phantoms = 0
            for seed in 0..<50 as Range<UInt64> {
                let model = SequencerModel(seed: seed)
                try model.run(steps: 150)
                deliveries += model.deliveries
                phantoms += model.phantoms
            }
            #expect(deliveries > 1_000)
            #expect(phantoms > 20)
        }

        @Test func modelDetectsSkippedGapRead() {
            #expect(Self.firstViolation(seeds: 0..<50, steps: 150, skipsGaps: true) != nil)
        }

        /// Runs every sequence of five out of seven inputs, with a store that has versions 1 to 4 from the start.
        @Test func everyShortInterleavingDeliversAllVersions() {
            let alphabet = 7
            var failures: [String] = []
            for script in 0..<16_807 where failures.count < 5 {
                var machine = Sequencer()
                _ = machine.headLoaded(0)
                var delivered: [Version] = []
                var isReading = false
                var hasTwoReads = false
                func process(_ step: Sequencer.Step) {
                    delivered += step.events.map(\.version)
                    if step.read != nil {
                        hasTwoReads = hasTwoReads || isReading
                        isReading = true
                    }
                }
                func finishRead() {
                    guard isReading, let last = machine.last else { return }
                    isReading = false
                    process(machine.pageLoaded(Sample.page(last < 4 ? last + 1...min(4, last + 2) : nil, head: 4)))
                }
                var rest = script
                for _ in 0..<5 {
                    switch rest % alphabet {
                    case 4: finishRead()
                    case 5:
                        if isReading {
                            isReading = false
                            machine.readFailed()
                        }
                    case 6: process(machine.sweepReported(4))
                    case let version: process(machine.received(Sample.event(Version(version) + 1)))
                    }
                    rest /= alphabet
                }
                for _ in 0..<4 {
                    process(machine.sweepReported(4))
                    finishRead()
                }
                if delivered != [1, 2, 3, 4] || hasTwoReads || isReading { failures.append("script \(script): \(delivered)") }
            }
            #expect(failures.isEmpty)
        }
    }
}
