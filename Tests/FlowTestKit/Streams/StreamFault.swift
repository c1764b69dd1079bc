import FlowCore

/// A defect of a hub, applied to what a subscriber receives. The oracle must detect each.
public enum StreamFault: CaseIterable, Sendable {
    /// A subscriber whose position is lost is sent no resync.
    case resyncOff
    /// History is sent even if events between the cursor and the history page are missing: neither a resync nor a snapshot.
    case pageCheckOff
    /// A stream starts with a heartbeat that has an `id:`, although a snapshot is due.
    case primeBeforeSnapshot
    /// Events that are sent in one write are written in reverse order.
    case batchReversed
    /// A slow subscriber skips an event that it was not sent while it did not read.
    case slowReaderSkips
    /// A replay does not stop where the live events start, so an event is sent twice.
    case replayOverlaps
}

/// Applies a ``StreamFault`` to the blocks of a stream.
struct FaultyStream: Sendable {
    private static let controlEvents: Set<String> = ["snapshot", "resync", "caught_up", "presence", "heartbeat", "closing"]

    private let fault: StreamFault
    /// Number of times that the fault has changed something.
    private(set) var occasions = 0

    // Of the current connection.
    /// The last durable event of each flow since its last snapshot.
    private var lastEvents: [String: EventBlock] = [:]
    /// Flows whose `resync` was dropped, and whose snapshot must be dropped too.
    private var lostFlows: Set<String> = []
    private var hasBegun = false
    /// Whether the subscriber reads again, and has received no durable event since.
    private var isResuming = false

    init(_ fault: StreamFault) { self.fault = fault }

    mutating func startConnection() {
        self.lastEvents = [:]
        self.lostFlows = []
        self.hasBegun = false
        self.isResuming = false
    }

    /// Called when the subscriber reads again after a pause.
    mutating func resume() { self.isResuming = true }

    /// - Parameter blocks: the blocks that arrived together.
    /// - Returns: the blocks that a hub with the fault would have sent.
    mutating func edit(_ blocks: [EventBlock]) -> [EventBlock] {
        switch self.fault {
        case .batchReversed: self.reverseRuns(blocks)
        default: blocks.flatMap { self.edit($0) }
        }
    }

    private mutating func edit(_ block: EventBlock) -> [EventBlock] {
        let flow = block.flow ?? ""
        switch self.fault {
        case .resyncOff where block.event == "resync":
            self.occasions += 1
            return []
        case .pageCheckOff where block.event == "resync":
            guard block.json.member("reason")?.stringValue == "history_pruned" else { return [block] }
            self.lostFlows.insert(flow)
            return []
        case .pageCheckOff where block.event == "snapshot":
            guard self.lostFlows.remove(flow) != nil else { return [block] }
            self.occasions += 1
            return []
        case .primeBeforeSnapshot where !self.hasBegun && block.data != nil:
            self.hasBegun = true
            guard block.event == "snapshot" else { return [block] }
            self.occasions += 1
            var prime = EventBlock()
            prime.id = block.id
            prime.event = "heartbeat"
            prime.data = #"{"type":"heartbeat"}"#
            prime.retry = block.retry
            return [prime, block]
        case .slowReaderSkips where self.isResuming && Self.isDurable(block):
            self.isResuming = false
            self.occasions += 1
            return []
        case .replayOverlaps:
            if Self.isDurable(block) { self.lastEvents[flow] = block }
            if block.event == "snapshot" { self.lastEvents[flow] = nil }
            guard block.event == "caught_up", let repeated = self.lastEvents.removeValue(forKey: flow) else { return [block] }
            self.occasions += 1
            return [block, repeated]
        default: return [block]
        }
    }

    /// Reverses each run of two or more consecutive durable events.
    private mutating func reverseRuns(_ blocks: [EventBlock]) -> [EventBlock] {
        var edited: [EventBlock] = []
        var run: [EventBlock] = []
        for block in blocks {
            if Self.isDurable(block) {
                run.append(block)
                continue
            }
            if run.count > 1 { self.occasions += 1 }
            edited += run.reversed() + [block]
            run = []
        }
        if run.count > 1 { self.occasions += 1 }
        return edited + run.reversed()
    }

    private static func isDurable(_ block: EventBlock) -> Bool {
        block.id != nil && block.data != nil && !Self.controlEvents.contains(block.event)
    }
}
