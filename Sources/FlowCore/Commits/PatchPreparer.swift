import DequeModule
import Synchronization

/// Applies patches of large states, and reads large new states, before their changes reach the store's writer, so that the time
/// in which it decides a change does not depend on the size of the flow's state.
///
/// The writer leaves such a change undecided and names the flow's state (``ChangeBatch/Decision/unprepared(base:)``). The patch
/// is then applied to it, one patch at a time in this process, and the change is submitted again with the result. Patches of
/// one flow with a large state take turns from there until their commit, because each commit makes the results of the others
/// useless. Patches of another account, which the writer rejects, do not take part. If other changes of the flow come in between
/// all the same, the last attempt applies the patch in the writer.
///
/// States and results that wait for the writer are bounded by ``maximumResults``; further patches wait for their turn, which
/// accounts take in rotation, and keep no state in memory meanwhile. Safe to use from any task.
package final class PatchPreparer: Sendable {
    /// The patches of one flow that are prepared: one of them, and those that wait for it.
    private struct Gate {
        var waiting: Deque<CheckedContinuation<JSONText?, Never>> = []
    }

    /// A flow of an account, as far as the change tells: whether the flow belongs to this account, the writer decides.
    private struct GateKey: Hashable {
        let account: String
        let flow: FlowID

        init(_ change: FlowChange) {
            self.account = change.account
            self.flow = change.flow
        }
    }

    private struct State {
        var gates: [GateKey: Gate] = [:]
        /// The changes that wait until fewer than ``PatchPreparer/maximumResults`` are prepared.
        var waiting = FairQueue<CheckedContinuation<Void, Never>>(turnCost: 1)
        /// Number of changes that are prepared.
        var results = 0
    }

    /// Applies patches one after the other, on the default executor.
    private actor Worker {
        func result(of patch: JSONText, on base: JSONText) -> PatchResult { PatchResult(of: patch, on: base) }
    }

    /// Maximum number of changes that are prepared at the same time, each with one state and its result.
    private static let maximumResults = 4
    /// Number of attempts after which the writer applies the patch. A change that had to wait needs the first one to learn the
    /// flow's state; three are left for patches of other sources that come in between.
    private static let maximumAttempts = 4

    private let state = Mutex(State())
    private let worker = Worker()

    package init() {}

    /// Submits a change to the writer, and again with the result of its patch if the writer asks for that.
    /// - Parameter submit: passes the change to the writer and returns what it decided.
    /// - Throws: the error of `submit`.
    package func apply(
        _ change: FlowChange, submit: (FlowChange) async throws(StoreError) -> ChangeBatch.Decision
    ) async throws(StoreError) -> FlowOutcome {
        var change = change
        guard case .patch(let patch) = change.body else {
            if case .replace(let state) = change.body, state.bytes.count > FlowChange.smallPatchBytes {
                change.preparation = await Task.detached { .read(depth: state.depth, status: FlowStatus(of: state)) }.value
            }
            return try await Self.outcome(of: change, submit)
        }
        let key = GateKey(change)
        change.preparation = .ahead(nil)
        var base: JSONText?
        if !self.isPreparing(key) {
            switch try await submit(change) {
            case .outcome(let outcome): return outcome
            case .unprepared(let current): base = current
            }
        }
        if !self.enter(key) {
            // The state will be another one when the turn comes. It is not kept in memory meanwhile.
            base = nil
            base = await self.turn(of: key)
        }
        var latest: JSONText?
        defer { self.leave(key, latest: latest) }
        if !self.reserveResult() {
            // A state in memory for each change that waits would not be bounded. The writer names it again.
            base = nil
            await self.resultTurn(of: change.account)
        }
        defer { self.releaseResult() }
        for _ in 0..<Self.maximumAttempts {
            switch try await self.attempt(change, patch, on: base, submit) {
            case .outcome(let outcome):
                latest = outcome.state
                return outcome
            case .unprepared(let current):
                base = current
            }
        }
        change.preparation = .inPlace
        return try await Self.outcome(of: change, submit)
    }

    /// Applies the patch and submits the change with the result.
    /// - Parameter base: the flow's state; `nil` if it is not known, and the writer must name it.
    private func attempt(
        _ change: FlowChange, _ patch: JSONText, on base: JSONText?,
        _ submit: (FlowChange) async throws(StoreError) -> ChangeBatch.Decision
    ) async throws(StoreError) -> ChangeBatch.Decision {
        guard let base else { return try await submit(change) }
        // Detached, because the task of a request runs on an event loop, which must not be held that long.
        let result = await Task.detached { await self.worker.result(of: patch, on: base) }.value
        var change = change
        change.preparation = .ahead(result)
        return try await submit(change)
    }

    private static func outcome(
        of change: FlowChange, _ submit: (FlowChange) async throws(StoreError) -> ChangeBatch.Decision
    ) async throws(StoreError) -> FlowOutcome {
        guard case .outcome(let outcome) = try await submit(change) else {
            throw .unavailable("a change was not decided")
        }
        return outcome
    }

    // MARK: Turns

    /// Whether a patch of the flow is being prepared, which shows that its state is large.
    private func isPreparing(_ key: GateKey) -> Bool { self.state.withLock { $0.gates[key] != nil } }

    /// Takes the flow's turn if no other patch has it.
    private func enter(_ key: GateKey) -> Bool {
        self.state.withLock { state in
            guard state.gates[key] == nil else { return false }
            state.gates[key] = Gate()
            return true
        }
    }

    /// Waits for the flow's turn.
    /// - Returns: the flow's state as the patch before left it, if that is known.
    private func turn(of key: GateKey) async -> JSONText? {
        await withCheckedContinuation { continuation in
            let isFree = self.state.withLock { state in
                guard state.gates[key] != nil else {
                    state.gates[key] = Gate()
                    return true
                }
                state.gates[key]?.waiting.append(continuation)
                return false
            }
            if isFree { continuation.resume(returning: nil) }
        }
    }

    /// Passes the flow's turn on to the patch that has waited longest.
    private func leave(_ key: GateKey, latest: JSONText?) {
        let next = self.state.withLock { state in
            let next = state.gates[key]?.waiting.popFirst()
            if next == nil { state.gates[key] = nil }
            return next
        }
        next?.resume(returning: latest)
    }

    /// Reserves one of the ``maximumResults`` if one is free.
    private func reserveResult() -> Bool { self.state.withLock { Self.reserveResult(&$0) } }

    private static func reserveResult(_ state: inout State) -> Bool {
        guard state.results < Self.maximumResults else { return false }
        state.results += 1
        return true
    }

    /// Waits until one of the ``maximumResults`` is free and it is the account's turn, and reserves it.
    private func resultTurn(of account: String) async {
        await withCheckedContinuation { continuation in
            let isFree = self.state.withLock { state in
                if Self.reserveResult(&state) { return true }
                state.waiting.add(continuation, of: account)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    /// Passes a reserved result on to the change whose turn it is.
    private func releaseResult() {
        let next = self.state.withLock { state in
            let next = state.waiting.next { _ in 1 }?.element
            if next == nil { state.results -= 1 }
            return next
        }
        next?.resume()
    }
}

extension FlowOutcome {
    /// The flow's state after the change, if the outcome tells it.
    fileprivate var state: JSONText? {
        switch self {
        case .applied(let record, _, _), .unchanged(let record): record.state
        case .replayed, .rejected: nil
        }
    }
}
