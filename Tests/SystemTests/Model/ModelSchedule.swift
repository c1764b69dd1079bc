import FlowTestKit

/// The operations of a model run with their weights, and the hub's settings. Together with a seed it determines all random
/// choices of the run.
struct ModelSchedule: Sendable {
    enum Write: Sendable {
        case publish, batch, bulk, transient, patch, put, end, reopen, delete, staleCondition, repeatedKey, read
    }

    enum Move: Sendable {
        case connect, disconnect, reset, disconnectWithinBlock, stopReading, read, linger
    }

    enum CursorChoice: Sendable {
        case kept, keptInQuery, none, start, older, invalid, ahead, otherEpoch, otherFlows
    }

    enum Disruption: Sendable { case terminate, kill, raiseEpoch }

    var flows = 4
    /// Further flows, which only some subscribers watch: those with a POST stream of all flows.
    var crowd = 196
    /// Number of writers of the crowd; the other flows of the crowd do not exist.
    var crowdWriters = 6
    /// Steps of each writer of the crowd in one round.
    var crowdSteps = 12
    var subscribers = 9
    /// Number of subscribers with a POST stream of all flows.
    var crowdSubscribers = 1
    /// Number of tasks per flow that continuously read its state and check that its version never decreases.
    var readers = 1
    var rounds = 2
    /// Steps of each writer in one round. Subscribers run until all writers have finished.
    var steps = 60
    var writes: [(Write, Int)] = [
        (.publish, 30), (.batch, 10), (.bulk, 6), (.transient, 12), (.patch, 25), (.put, 5), (.end, 3), (.reopen, 4),
        (.delete, 3), (.staleCondition, 3), (.repeatedKey, 4), (.read, 12),
    ]
    var moves: [(Move, Int)] = [
        (.connect, 30), (.disconnect, 10), (.reset, 5), (.disconnectWithinBlock, 15), (.stopReading, 6), (.read, 8),
        (.linger, 30),
    ]
    var cursors: [(CursorChoice, Int)] = [
        (.kept, 50), (.keptInQuery, 20), (.none, 8), (.start, 4), (.older, 10), (.invalid, 3), (.ahead, 2), (.otherEpoch, 2),
        (.otherFlows, 3),
    ]
    /// Disruptions in each round, at random times.
    var disruptions: [Disruption] = []
    /// Percentages of subscribers with several flows, with a type filter, without snapshot, and with small buffers (so that
    /// they can be slow).
    var sharedPercent = 35
    var filteredPercent = 25
    var headPercent = 15
    var narrowPercent = 40

    /// Number of events per flow that history keeps.
    var historyEvents = 40
    /// Whether a round waits until history is pruned to ``historyEvents``.
    var awaitsPruning = false
    var environment: [String: String] = [:]
    /// A defect of the hub to simulate in the streams of every second subscriber, or in its store.
    var streamFault: StreamFault?
    var storeFault: StoreFault?
    /// Maximum time for a subscriber to reach the heads after all publishing has ended.
    var settling = Duration.seconds(30)

    var allSettings: [String: String] {
        [
            "FLOWHUB_HISTORY_EVENTS": String(self.historyEvents), "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_SWEEP_SECONDS": "1",
            "FLOWHUB_LINGER_MS": "300", "FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_DRAIN_SECONDS": "1", "FLOWHUB_RETRY_MS": "50",
            "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "8192", "FLOWHUB_EVENT_LOOPS": "2", "FLOWHUB_LOG_LEVEL": "notice",
        ].merging(self.environment) { $1 }
    }
}
