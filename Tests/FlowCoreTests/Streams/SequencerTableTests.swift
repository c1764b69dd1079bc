import FlowCore
import Testing

extension CoreStreams {
    /// Checks the sequencer's outcome for every combination of state and input.
    @Suite struct SequencerTableTests {
        enum Start: CaseIterable { case starting, startingReceived7, following5, reading5Early7, failed5Early7 }

        enum Input: CaseIterable {
            case head5, head9, received5, received6, received8, page6to7, pageEmpty5, readFailed, sweep5, sweep9
        }

        struct Outcome: Hashable {
            var step: StepSummary
            var last: Version?

            init(_ versions: [Version] = [], readAfter: Version? = nil, phantoms: Int = 0, last: Version?) {
                self.step = StepSummary(versions, readAfter: readAfter, phantoms: phantoms)
                self.last = last
            }
        }

        private static func machine(in start: Start) -> Sequencer {
            var machine = Sequencer()
            switch start {
            case .starting: break
            case .startingReceived7: _ = machine.received(Sample.event(7))
            case .following5: _ = machine.headLoaded(5)
            case .reading5Early7, .failed5Early7:
                _ = machine.headLoaded(5)
                _ = machine.received(Sample.event(7))
                if start == .failed5Early7 { machine.readFailed() }
            }
            return machine
        }

        private static func outcome(of input: Input, in start: Start) -> Outcome {
            var machine = Self.machine(in: start)
            let step: Sequencer.Step =
                switch input {
                case .head5: machine.headLoaded(5)
                case .head9: machine.headLoaded(9)
                case .received5: machine.received(Sample.event(5))
                case .received6: machine.received(Sample.event(6))
                case .received8: machine.received(Sample.event(8))
                case .page6to7: machine.pageLoaded(Sample.page(6...7, head: 7))
                case .pageEmpty5: machine.pageLoaded(Sample.page(nil, head: 5))
                case .sweep5: machine.sweepReported(5)
                case .sweep9: machine.sweepReported(9)
                case .readFailed: Self.failure(of: &machine)
                }
            return Outcome(
                step.events.map(\.version), readAfter: step.readAfter, phantoms: step.phantoms, last: machine.last)
        }

        private static func failure(of machine: inout Sequencer) -> Sequencer.Step {
            machine.readFailed()
            // `readFailed()` returns no step. Event 0 is below every version and yields an empty one.
            return machine.received(Sample.event(0))
        }

        private static func expected(_ input: Input, in start: Start) -> Outcome {
            switch (start, input) {
            case (.starting, .head5), (.starting, .sweep5): Outcome(last: 5)
            case (.starting, .head9), (.starting, .sweep9): Outcome(last: 9)
            case (.starting, _): Outcome(last: nil)
            case (.startingReceived7, .head9), (.startingReceived7, .sweep9): Outcome(last: 9)
            case (.startingReceived7, .head5), (.startingReceived7, .sweep5): Outcome(readAfter: 5, last: 5)
            case (.startingReceived7, _): Outcome(last: nil)
            case (.following5, .received6): Outcome([6], last: 6)
            case (.following5, .received8), (.following5, .sweep9): Outcome(readAfter: 5, last: 5)
            case (.following5, .page6to7): Outcome([6, 7], last: 7)
            case (.following5, _): Outcome(last: 5)
            case (.reading5Early7, .received6), (.failed5Early7, .received6): Outcome([6, 7], last: 7)
            case (.reading5Early7, .page6to7), (.failed5Early7, .page6to7): Outcome([6, 7], last: 7)
            // Event 7 was received before the read that finds the store at 5, so it is a phantom.
            case (.reading5Early7, .pageEmpty5): Outcome(phantoms: 1, last: 5)
            case (.failed5Early7, .pageEmpty5): Outcome(phantoms: 1, last: 5)
            case (.reading5Early7, _): Outcome(last: 5)
            case (.failed5Early7, .received8), (.failed5Early7, .sweep5), (.failed5Early7, .sweep9):
                Outcome(readAfter: 5, last: 5)
            case (.failed5Early7, _): Outcome(last: 5)
            }
        }

        @Test(arguments: Start.allCases, Input.allCases)
        func outcomeMatchesTableForEveryStateAndInput(_ start: Start, _ input: Input) {
            #expect(Self.outcome(of: input, in: start) == Self.expected(input, in: start))
        }
    }
}
