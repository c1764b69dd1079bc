import FlowTestKit

/// What a run of the model does, how often each thing, and under which settings. With a seed it is the whole script.
struct ModelSchedule: Sendable {
    enum Write: Sendable {
        case publish, batch, bulk, transient, patch, put, end, reopen, delete, staleCondition, repeatedKey, read
    }

    enum Move: Sendable {
        case connect, disconnect, reset, cutInside, stopReading, read, linger
    }

    enum CursorChoice: Sendable {
        case kept, keptInQuery, none, start, older, rubbish, ahead, otherEpoch, otherFlows
    }

    enum Disruption: Sendable { case terminate, kill, bumpEpoch }

    var flows = 4
    var subscribers = 10
    /// Of each flow: ask for its state all the time, and must never see it go back.
    var readers = 1
    var rounds = 2
    /// Of each writer and each subscriber, in one round.
    var steps = 60
    var writes: [(Write, Int)] = [
        (.publish, 30), (.batch, 10), (.bulk, 6), (.transient, 12), (.patch, 25), (.put, 5), (.end, 3), (.reopen, 4),
        (.delete, 3), (.staleCondition, 3), (.repeatedKey, 4), (.read, 12),
    ]
    var moves: [(Move, Int)] = [
        (.connect, 30), (.disconnect, 10), (.reset, 5), (.cutInside, 15), (.stopReading, 6), (.read, 8), (.linger, 30),
    ]
    var cursors: [(CursorChoice, Int)] = [
        (.kept, 50), (.keptInQuery, 20), (.none, 8), (.start, 4), (.older, 10), (.rubbish, 3), (.ahead, 2), (.otherEpoch, 2),
        (.otherFlows, 3),
    ]
    /// In each round, at moments of the seed's choice.
    var disruptions: [Disruption] = []
    /// How often a subscriber is one of several flows, filtered, without snapshot, or narrow (so that it can be slow).
    var sharedPercent = 35
    var filteredPercent = 25
    var headPercent = 15
    var narrowPercent = 40

    var historyEvents = 40
    /// Whether a round is over only when history is pruned down to that.
    var awaitsPruning = false
    var environment: [String: String] = [:]
    /// How long a subscriber may take to reach the end once all is quiet.
    var settling = Duration.seconds(30)

    var allSettings: [String: String] {
        [
            "FLOWHUB_HISTORY_EVENTS": String(self.historyEvents), "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_SWEEP_SECONDS": "1",
            "FLOWHUB_LINGER_MS": "300", "FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_DRAIN_SECONDS": "1", "FLOWHUB_RETRY_MS": "50",
            "FLOWHUB_MAX_QUEUED_BYTES_PER_SUBSCRIBER": "8192", "FLOWHUB_EVENT_LOOPS": "2", "FLOWHUB_LOG_LEVEL": "notice",
        ].merging(self.environment) { $1 }
    }
}
