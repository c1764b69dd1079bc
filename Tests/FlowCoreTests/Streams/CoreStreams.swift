import FlowCore
import Testing

/// Tests of the state machines between the bus and the subscribers.
@Suite enum CoreStreams {}

/// The random number generator SplitMix64. The same seed gives the same test run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }
}

/// A violation that a model or test helper has found.
struct Violation: Error, CustomStringConvertible {
    var description: String
}

enum Sample {
    static let flow = Self.id("f")
    static let epoch = Epoch(counter: 7, random: "a")

    static func id(_ text: String) -> FlowID {
        guard let flow = FlowID(text) else { fatalError("no id: \(text)") }
        return flow
    }

    static func type(_ text: String) -> EventType {
        guard let type = EventType(text) else { fatalError("no type: \(text)") }
        return type
    }

    static func json(_ text: String) -> JSONText {
        guard let json = try? JSONText(validating: Array(text.utf8)) else { fatalError("no JSON: \(text)") }
        return json
    }

    static func event(_ version: Version) -> FlowEvent {
        FlowEvent(
            version: version, type: Self.type("step"), payload: Self.json(#"{"data":1}"#),
            createdAt: Timestamp(milliseconds: 0))
    }

    static func events(_ versions: ClosedRange<Version>) -> [FlowEvent] { versions.map { Self.event($0) } }

    static func head(_ version: Version, of flow: FlowID = Self.flow, account: String = "1") -> FlowHead {
        FlowHead(
            flow: flow, account: account, version: version, status: .active, resetVersion: 0,
            updatedAt: Timestamp(milliseconds: 0))
    }

    static func record(_ version: Version, of flow: FlowID = Self.flow, account: String = "1") -> FlowRecord {
        FlowRecord(head: Self.head(version, of: flow, account: account), state: Self.json(#"{"v":\#(version)}"#))
    }

    static func page(_ versions: ClosedRange<Version>?, head: Version) -> EventPage {
        EventPage(head: Self.head(head), events: versions.map { Self.events($0) } ?? [])
    }

    static func frame(_ version: Version) -> Frame { .durable(Self.event(version), of: Self.flow, epoch: Self.epoch) }
}
