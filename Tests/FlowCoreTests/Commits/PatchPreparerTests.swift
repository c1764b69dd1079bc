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

    private static func change(_ patch: String, flow: String = "f") throws -> FlowChange {
        FlowChange(
            flow: try #require(FlowID(flow)), account: "1", body: .patch(try JSONText(validating: patch.utf8)),
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
        #expect(writer.state.withLock { $0.decisions } == [false, true, true, true, false])
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
}
