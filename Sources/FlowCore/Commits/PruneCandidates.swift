import Synchronization

/// The flows that may have more durable events than the retention allows.
///
/// These are the flows that were written since the last pruning and, once after the start, the results of a scan of all
/// flows, in slices. So pruning by number of events reads flows that have changed, and not the whole table. Safe to use from
/// any thread.
package final class PruneCandidates: Sendable {
    private struct State: Sendable {
        var versions: [FlowID: Version] = [:]
        /// The maximum number of events per flow, as of the most recent ``nextBatch(above:limit:)``. A flow at or below
        /// this version has no more events than that.
        var threshold: Version = 0
        /// The flow id after which the scan continues; `nil` when it is complete.
        var scanCursor: String? = ""

        /// Drops all candidates and starts the scan of all flows again.
        mutating func restart() {
            self.versions = [:]
            self.scanCursor = ""
        }
    }

    /// Maximum number of candidates. If there are more, they are dropped and all flows are scanned again: beyond this
    /// number a scan costs less than remembering candidates.
    private let maximumFlows: Int
    private let state = Mutex(State())

    package init(maximumFlows: Int = 50_000) { self.maximumFlows = maximumFlows }

    /// Adds flows with their versions. Flows at or below `State.threshold` are ignored: they have no surplus events.
    package func add(_ flows: some Sequence<(FlowID, Version)>) {
        self.state.withLock { state in
            for (flow, version) in flows where version > state.threshold { state.versions[flow] = version }
            if state.versions.count > self.maximumFlows { state.restart() }
        }
    }

    /// Removes and returns at most `limit` flows whose version is above `events`, the maximum number of events per flow.
    /// Also drops all candidates whose version is at or below `events`.
    package func nextBatch(above events: Int, limit: Int) -> [(FlowID, Version)] {
        self.state.withLock { state in
            // The maximum was lowered: flows that were ignored at the higher threshold may have too many events now.
            if events < state.threshold { state.restart() }
            state.threshold = Version(events)
            var remaining = state.versions.filter { $0.value > events }
            state.versions = [:]
            let batch = remaining.prefix(limit).map { ($0.key, $0.value) }
            for (flow, _) in batch { remaining[flow] = nil }
            state.versions = remaining
            return batch
        }
    }

    /// The flow id after which the scan of all flows continues, empty at its start; `nil` when it is complete.
    package var scanCursor: String? { self.state.withLock { $0.scanCursor } }

    /// Reports that a slice of the scan was read.
    /// - Parameter last: the last flow id of the slice; `nil` if no flows follow.
    package func advanceScan(to last: String?) { self.state.withLock { $0.scanCursor = last } }

    /// Drops all candidates and restarts the scan of all flows. Called when pruning has failed: the flows that
    /// ``nextBatch(above:limit:)`` has removed would otherwise be forgotten.
    package func restart() { self.state.withLock { $0.restart() } }
}
