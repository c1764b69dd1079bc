import FlowCore
import Synchronization
import Testing

@Suite struct PatchPreparerTests {
    /// A writer with one flow that decides each change as it comes.
    private final class Writer: Sendable {
        struct State {
            var record: FlowRecord?
            /// For each decision, whether the change had the result of its patch.
            var decisions: [Bool] = []
            /// Number of changes of others that come before each change with a result.
            var interferences = 0
            var underway = 0
            var mostUnderway = 0
        }

        let state = Mutex(State())

        func submit(_ change: FlowChange) async throws(StoreError) -> ChangeBatch.Decision {
            self.state.withLock { state in
                state.underway += 1
                state.mostUnderway = max(state.mostUnderway, state.underway)
            }
            // Changes that are submitted at the same time are here at the same time.
            for _ in 0..<20 { await Task.yield() }
            return self.state.withLock { state in
                state.underway -= 1
                var isPrepared = false
                if case .ahead(.some) = change.preparation { isPrepared = true }
                if isPrepared, state.interferences > 0, let record = state.record {
                    state.interferences -= 1
                    let other = try? JSONText(validating: #"{"other":\#(state.interferences)}"#.utf8)
                    state.record?.state = record.state.applying(mergePatch: other ?? .emptyObject)
                }
                state.decisions.append(isPrepared)
                var batch = ChangeBatch(epoch: Epoch(counter: 1, random: "a"), limits: .init())
                batch.setStored(state.record, of: change.flow)
                batch.decide(change)
                state.record = batch.rows[change.flow]?.current
                return batch.decisions[0]
            }
        }
    }

    private static func change(_ patch: String, flow: String = "f", account: String = "1") throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(flow)), account: account, body: .patch(try JSONText(validating: patch.utf8)),
            at: Timestamp(milliseconds: 0))
    }

    private static let large = #"{"text":"\#(String(repeating: "x", count: FlowChange.smallPatchBytes))"}"#

    @Test func aSmallStateIsPatchedWhereItIsDecided() async throws {
        let writer = Writer()
        _ = try await PatchPreparer().apply(Self.change(#"{"a":1}"#), submit: writer.submit)
        #expect(writer.state.withLock { $0.decisions } == [false])
        #expect(writer.state.withLock { $0.record?.state.string } == #"{"a":1}"#)
    }

    @Test func theWriterDoesNotApplyThePatchOfALargeState() async throws {
        let writer = Writer()
        let preparer = PatchPreparer()
        _ = try await preparer.apply(Self.change(Self.large), submit: writer.submit)
        _ = try await preparer.apply(Self.change(#"{"a":1}"#), submit: writer.submit)
        #expect(writer.state.withLock { $0.decisions } == [false, true, false, true])
        #expect(writer.state.withLock { $0.record?.state.member("a")?.intValue } == 1)
    }

    @Test func patchesOfALargeStateTakeTurns() async throws {
        let writer = Writer()
        let preparer = PatchPreparer()
        _ = try await preparer.apply(Self.change(Self.large), submit: writer.submit)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<30 {
                group.addTask { _ = try await preparer.apply(Self.change(#"{"n\#(number)":1}"#), submit: writer.submit) }
            }
            try await group.waitForAll()
        }
        let state = writer.state.withLock { $0.record?.state }
        for number in 0..<30 { #expect(state?.member("n\(number)")?.intValue == 1) }
        // A result was never computed for a state that another of these patches had replaced.
        #expect(writer.state.withLock { $0.decisions.filter { $0 }.count } == 31)
    }

    @Test func theLastAttemptAppliesThePatchInTheWriter() async throws {
        let writer = Writer()
        let preparer = PatchPreparer()
        _ = try await preparer.apply(Self.change(Self.large), submit: writer.submit)
        writer.state.withLock { state in
            state.decisions = []
            state.interferences = .max
        }
        let outcome = try await preparer.apply(Self.change(#"{"a":1}"#), submit: writer.submit)
        guard case .applied(let record, _, _) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(record.state.member("a")?.intValue == 1)
        #expect(record.state.member("other") != nil)
        #expect(writer.state.withLock { $0.decisions } == [false, true, true, true, true, false])
    }

    @Test func aFailedChangePassesTheTurnOn() async throws {
        let writer = Writer()
        let preparer = PatchPreparer()
        _ = try await preparer.apply(Self.change(Self.large), submit: writer.submit)
        let failing: @Sendable (FlowChange) async throws(StoreError) -> ChangeBatch.Decision = {
            change async throws(StoreError) in
            if case .ahead(.some) = change.preparation { throw .unavailable("test") }
            return try await writer.submit(change)
        }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask { _ = try? await preparer.apply(Self.change(#"{"lost":1}"#), submit: failing) }
            }
        }
        _ = try await preparer.apply(Self.change(#"{"a":1}"#), submit: writer.submit)
        #expect(writer.state.withLock { $0.record?.state.member("a")?.intValue } == 1)
        #expect(writer.state.withLock { $0.record?.state.member("lost") } == nil)
    }

    @Test func resultsThatWaitForTheWriterAreBounded() async throws {
        let preparer = PatchPreparer()
        let prepared = Writer()
        let counting: @Sendable (FlowChange) async throws(StoreError) -> ChangeBatch.Decision = {
            change async throws(StoreError) in
            if case .ahead(.some) = change.preparation { return try await prepared.submit(change) }
            return .unprepared(base: .emptyObject)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<40 {
                group.addTask {
                    _ = try await preparer.apply(Self.change(#"{"a":1}"#, flow: "f\(number)"), submit: counting)
                }
            }
            try await group.waitForAll()
        }
        let most = prepared.state.withLock { $0.mostUnderway }
        #expect((1...4).contains(most), "\(most)")
    }

    /// Holds the results at the writer until the test releases them.
    private final class HoldingWriter: Sendable {
        let isHolding = Mutex(true)
        /// Number of results that have arrived.
        let results = Mutex(0)
        /// For each flow, how often its state was asked for.
        let questions = Mutex<[FlowID: Int]>([:])

        func submit(_ change: FlowChange) async throws(StoreError) -> ChangeBatch.Decision {
            guard change.account == "1" else { return .outcome(.rejected(.otherAccount)) }
            guard case .ahead(.some) = change.preparation else {
                self.questions.withLock { $0[change.flow, default: 0] += 1 }
                return .unprepared(base: .emptyObject)
            }
            self.results.withLock { $0 += 1 }
            while self.isHolding.withLock({ $0 }), !Task.isCancelled { await Task.yield() }
            return .outcome(.rejected(.notFound))
        }
    }

    @Test(.timeLimit(.minutes(1))) func patchesOfAnotherAccountDoNotWaitForTheFlowsTurn() async throws {
        let writer = HoldingWriter()
        let preparer = PatchPreparer()
        let (own, others) = (try Self.change("{}"), try Self.change("{}", account: "2"))
        async let first = preparer.apply(own, submit: writer.submit)
        while writer.results.withLock({ $0 }) == 0 { await Task.yield() }
        let outcome = try await preparer.apply(others, submit: writer.submit)
        writer.isHolding.withLock { $0 = false }
        _ = try await first
        guard case .rejected(.otherAccount) = outcome else {
            Issue.record("\(outcome)")
            return
        }
    }

    /// All tasks run on the main actor: a task that was seen to ask has then gone on until it waits.
    @MainActor
    @Test(.timeLimit(.minutes(1))) func patchThatWaitsForOthersAsksForStateAgain() async throws {
        let writer = HoldingWriter()
        let preparer = PatchPreparer()
        let changes = try (0..<5).map { try Self.change("{}", flow: "f\($0)") }
        func start(_ change: FlowChange) -> Task<Void, any Error> {
            Task { @MainActor in _ = try await preparer.apply(change, submit: writer.submit) }
        }
        var tasks = changes.dropLast().map(start)
        while writer.results.withLock({ $0 }) < 4 { await Task.yield() }
        tasks.append(start(changes[4]))
        while writer.questions.withLock({ $0[changes[4].flow] }) == nil { await Task.yield() }
        writer.isHolding.withLock { $0 = false }
        for task in tasks { try await task.value }
        #expect(changes.map { change in writer.questions.withLock { $0[change.flow] } } == [1, 1, 1, 1, 2])
        #expect(writer.results.withLock { $0 } == 5)
    }
}
