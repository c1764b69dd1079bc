import FlowCore
import Testing

extension FlowTransitionTests {
    @Test func rejectsStateOverSizeOrDepthLimit() throws {
        var limits = ChangeLimits()
        limits.maximumStateBytes = 20
        limits.maximumDepth = 3
        func verdict(_ body: FlowChange.Body, on current: FlowRecord? = nil) -> FlowOutcome.Rejection? {
            Self.rejection(Self.change(body), on: current, limits: limits)
        }
        #expect(verdict(Self.put(#"{"a":"123456789012"}"#)) == nil)
        #expect(verdict(Self.put(#"{"a":"1234567890123"}"#)) == .stateTooLarge(bytes: 21, limit: 20))
        #expect(verdict(Self.put(#"{"a":{"b":[]}}"#)) == nil)
        #expect(verdict(Self.put(#"{"a":{"b":[[]]}}"#)) == .stateTooDeep(limit: 3))
        #expect(verdict(Self.put(#"{"a":"[[[[{\"["}"#)) == nil, "braces in a string are no depth")
        // State and patch are each within the limit, but the patched state is not.
        let half = try Self.flow([Self.patch(#"{"a":"12345"}"#)])
        #expect(verdict(Self.patch(#"{"b":"12345"}"#), on: half) == .stateTooLarge(bytes: 25, limit: 20))
    }

    @Test func rejectsReservedStatusDeleted() {
        #expect(Self.rejection(Self.change(Self.patch(#"{"status":"deleted"}"#)), on: nil) == .reservedStatus)
        #expect(Self.rejection(Self.change(Self.put(#"{"status":"deleted"}"#)), on: nil) == .reservedStatus)
    }

    @Test func rejectsStaleFencingTokenAndTooManyFences() throws {
        func fence(_ token: Int64, _ resource: String = "r") -> FlowChange.Fencing { .init(resource: resource, token: token) }
        let first = try Self.written(Self.patch(#"{"a":1}"#), on: nil, fencing: fence(5)).record
        #expect(first.fence.string == #"{"r":5}"#)
        let again = try Self.written(Self.patch(#"{"a":2}"#), on: first, fencing: fence(5)).record
        #expect(again.version == 2)
        let stale = Self.change(Self.patch(#"{"a":3}"#), fencing: fence(4))
        #expect(Self.rejection(stale, on: again) == .staleFencingToken(resource: "r", highest: 5))
        let other = try Self.written(Self.publish(1), on: again, fencing: fence(1, "s")).record
        #expect(other.fence.isEquivalent(to: Sample.json(#"{"r":5,"s":1}"#)))
        let tombstone = try Self.written(.delete, on: other, fencing: fence(6)).record
        #expect(tombstone.fence.isEquivalent(to: Sample.json(#"{"r":6,"s":1}"#)), "a tombstone remembers")
        #expect(Self.rejection(Self.change(Self.put("{}"), fencing: fence(5)), on: tombstone) != nil)

        var limits = ChangeLimits()
        limits.maximumFences = 2
        let third = Self.change(Self.patch(#"{"a":9}"#), fencing: fence(1, "t"))
        #expect(Self.rejection(third, on: other, limits: limits) == .tooManyFences(limit: 2))
        #expect(Self.rejection(Self.change(Self.patch(#"{"a":9}"#), fencing: fence(9)), on: other, limits: limits) == nil)
    }

    /// The newer holder's change was accepted, so the older holder must not write after it.
    @Test func patchWithoutEffectStillRaisesFence() throws {
        let flow = try Self.written(Self.patch(#"{"a":1}"#), on: nil, fencing: .init(resource: "r", token: 4)).record
        let newer = FlowTransition.decide(
            Self.change(Self.patch(#"{"a":1}"#), fencing: .init(resource: "r", token: 5)), current: flow, epoch: Self.epoch,
            limits: .init())
        var after = flow
        switch newer {
        case .write(let record, _, _), .unchanged(let record): after = record
        case .rejected, .unprepared: break
        }
        let older = Self.change(Self.patch(#"{"a":2}"#), fencing: .init(resource: "r", token: 4))
        #expect(Self.rejection(older, on: after) == .staleFencingToken(resource: "r", highest: 5))
    }

    @Test func rejectsPublishWithoutEvents() throws {
        #expect(Self.rejection(Self.change(Self.publish(0)), on: nil) == .emptyPublication)
        #expect(Self.rejection(Self.change(Self.publish(0)), on: try Self.flow([Self.patch("{}")])) == .emptyPublication)
    }

    @Test func flowTimestampsNeverDecrease() throws {
        let flow = try Self.flow([Self.patch("{}")])
        let early = Self.change(Self.patch(#"{"a":1}"#), at: 5)
        let decision = FlowTransition.decide(early, current: flow, epoch: Self.epoch, limits: .init())
        guard case .write(let record, let events, _) = decision else { throw Violation(description: "\(decision)") }
        #expect(record.head.updatedAt == flow.head.updatedAt)
        #expect(events.first?.createdAt == flow.head.updatedAt)
    }
}
