import FlowCore
import Testing

@Suite struct ArchivedFlowTests {
    private static let time = Timestamp(milliseconds: 0)

    private static func flow(_ version: Version) -> ArchivedFlow {
        let head = FlowHead(
            flow: FlowID("f").unsafelyUnwrapped, account: "0", version: version, status: .active, resetVersion: 0, updatedAt: time
        )
        return ArchivedFlow(record: FlowRecord(head: head, state: .emptyObject), createdAt: time)
    }

    private static func events(_ versions: ClosedRange<Version>) -> [FlowEvent] {
        versions.map { FlowEvent(version: $0, type: .stateUpdate, payload: .emptyObject, createdAt: time) }
    }

    struct Case: CustomTestStringConvertible, Sendable {
        var testDescription: String
        /// The history that remains when each page is read; the last entry applies to all later reads. Pages have three events.
        var history: [ClosedRange<Version>]
        var expected: ClosedRange<Version>?
    }

    @Test(arguments: [
        Case(testDescription: "untouched", history: [1...7], expected: 1...7),
        Case(testDescription: "pruned before", history: [3...7], expected: 3...7),
        Case(testDescription: "appended to during the read", history: [1...7, 1...9], expected: 1...7),
        Case(testDescription: "pruned between two pages", history: [1...7, 6...7], expected: 6...7),
        Case(testDescription: "pruned within pages already read", history: [1...7, 2...7], expected: 1...7),
        Case(testDescription: "pruned beyond the version", history: [1...7, 9...12], expected: nil),
        Case(testDescription: "pruned away", history: [9...12], expected: nil),
    ])
    func historyHasNoGapDespitePruning(_ test: Case) async throws {
        var reads = 0
        let found = await Self.flow(7).history { after in
            let left = test.history[min(reads, test.history.count - 1)]
            reads += 1
            let first = max(left.lowerBound, after + 1)
            guard first <= left.upperBound else { return EventPage(head: nil, events: []) }
            return EventPage(head: nil, events: Self.events(first...min(first + 2, left.upperBound)))
        }
        #expect(found.map(\.version) == test.expected.map(Array.init) ?? [])
    }
}
