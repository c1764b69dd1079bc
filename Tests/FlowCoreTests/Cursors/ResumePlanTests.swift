import FlowCore
import Testing

@Suite struct ResumePlanTests {
    private static let epoch = Epoch(counter: 7, random: "a")
    private static let other = Epoch(counter: 7, random: "b")
    private static let one = [Sample.id("a")]
    private static let two = ["a", "b"].map(Sample.id)

    private static func plan(_ cursor: Cursor, _ flows: [FlowID], snapshot: Bool = true) -> [StartPoint] {
        ResumePlan(position: .shared(cursor), flows: flows, epoch: Self.epoch, wantsSnapshot: snapshot).startPoints
    }

    @Test func cursorOfOneFlowSelectsStartPoint() {
        #expect(Self.plan(.none, Self.one) == [.snapshot])
        #expect(Self.plan(.none, Self.one, snapshot: false) == [.head])
        #expect(Self.plan(.start, Self.one) == [.after(0)])
        #expect(Self.plan(.unreadable, Self.one) == [.resync(.badCursor)])
        #expect(Self.plan(.flow(Self.epoch, 9), Self.one) == [.after(9)])
        #expect(Self.plan(.flow(Self.epoch, 9), Self.one, snapshot: false) == [.after(9)])
        #expect(Self.plan(.flow(Self.other, 9), Self.one) == [.resync(.epoch)])
        #expect(Self.plan(.flows(Self.epoch, FlowSetHash(of: Self.one), [1]), Self.one) == [.resync(.otherFlows)])
    }

    @Test func cursorOfSeveralFlowsSelectsStartPoints() {
        let hash = FlowSetHash(of: Self.two)
        #expect(Self.plan(.none, Self.two) == [.snapshot, .snapshot])
        #expect(Self.plan(.start, Self.two) == [.after(0), .after(0)])
        #expect(Self.plan(.flows(Self.epoch, hash, [1, 2]), Self.two) == [.after(1), .after(2)])
        #expect(Self.plan(.flows(Self.epoch, hash, [1, nil]), Self.two) == [.after(1), .snapshot])
        #expect(Self.plan(.flows(Self.epoch, hash, [1]), Self.two) == [.resync(.otherFlows), .resync(.otherFlows)])
        #expect(Self.plan(.flows(Self.other, hash, [1, 2]), Self.two) == [.resync(.epoch), .resync(.epoch)])
        let strange = FlowSetHash(of: [Sample.id("a"), Sample.id("c")])
        #expect(Self.plan(.flows(Self.epoch, strange, [1, 2]), Self.two) == [.resync(.otherFlows), .resync(.otherFlows)])
        #expect(Self.plan(.flow(Self.epoch, 1), Self.two) == [.resync(.otherFlows), .resync(.otherFlows)])
    }

    @Test func eachFlowResumesByItsOwnCursor() {
        let cursors: [Cursor] = [
            .none, .start, .unreadable, .flow(Self.epoch, 9), .flow(Self.other, 9),
            .flows(Self.epoch, FlowSetHash(of: Self.two), [1, 2]),
        ]
        let flows = (0..<cursors.count).map { Sample.id("f\($0)") }
        func plan(snapshot: Bool) -> ResumePlan {
            ResumePlan(position: .each(cursors), flows: flows, epoch: Self.epoch, wantsSnapshot: snapshot)
        }
        #expect(
            plan(snapshot: true).startPoints == [
                .snapshot, .after(0), .resync(.badCursor), .after(9), .resync(.epoch), .resync(.otherFlows),
            ])
        #expect(plan(snapshot: false).startPoints.first == .head)
    }
}
