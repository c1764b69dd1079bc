import Synchronization

/// The flows that may have more history than they should: those that were written lately, and, once after the start, all
/// of them, a slice at a time. So pruning by number looks at what changed and not at everything there is.
package final class PruneCandidates: Sendable {
    private struct State: Sendable {
        var versions: [FlowID: Version] = [:]
        /// Versions up to this one are within the number of events that was last asked about.
        var threshold: Version = 0
        /// Where the walk over all flows goes on; `nil` when it is done.
        var scanCursor: String? = ""

        mutating func restart() {
            self.versions = [:]
            self.scanCursor = ""
        }
    }

    /// Flows that are remembered; beyond that a walk over all of them costs less.
    private let maximumFlows: Int
    private let state = Mutex(State())

    package init(maximumFlows: Int = 50_000) { self.maximumFlows = maximumFlows }

    package func add(_ flows: some Sequence<(FlowID, Version)>) {
        self.state.withLock { state in
            for (flow, version) in flows where version > state.threshold { state.versions[flow] = version }
            if state.versions.count > self.maximumFlows { state.restart() }
        }
    }

    /// Hands out, and forgets, at most `limit` flows with more versions than `events`. Those with fewer are forgotten too.
    package func nextBatch(above events: Int, limit: Int) -> [(FlowID, Version)] {
        self.state.withLock { state in
            // Fewer than before: flows that were passed over count now.
            if events < state.threshold { state.restart() }
            state.threshold = Version(events)
            var long = state.versions.filter { $0.value > events }
            state.versions = [:]
            let batch = long.prefix(limit).map { ($0.key, $0.value) }
            for (flow, _) in batch { long[flow] = nil }
            state.versions = long
            return batch
        }
    }

    package var scanCursor: String? { self.state.withLock { $0.scanCursor } }

    /// - Parameter last: the last id of the slice; `nil` if there is none behind it.
    package func advanceScan(to last: String?) { self.state.withLock { $0.scanCursor = last } }

    /// Begins the walk anew: what was handed out may not have been dealt with.
    package func restart() { self.state.withLock { $0.restart() } }
}
