import FlowCore
import Testing

@Suite struct FlowTransitionTests {
    static let epoch = Epoch(counter: 7, random: "a")

    static func change(
        _ body: FlowChange.Body, account: String = "1", if precondition: FlowChange.Precondition = .none,
        fencing: FlowChange.Fencing? = nil, at: Int64 = 1_000
    ) -> FlowChange {
        FlowChange(
            flow: Sample.flow, account: account, body: body, precondition: precondition, fencing: fencing,
            at: Timestamp(milliseconds: at))
    }

    static func patch(_ text: String) -> FlowChange.Body { .patch(Sample.json(text)) }
    static func put(_ text: String) -> FlowChange.Body { .replace(Sample.json(text)) }
    static func publish(_ count: Int) -> FlowChange.Body {
        .publish((0..<count).map { .init(type: Sample.type("t"), data: Sample.json("\($0)")) })
    }

    /// The flow after these changes, each of which must result in a write.
    static func flow(_ bodies: [FlowChange.Body]) throws -> FlowRecord {
        var record: FlowRecord?
        for body in bodies { record = try Self.written(body, on: record).record }
        return try #require(record)
    }

    static func written(
        _ body: FlowChange.Body, on current: FlowRecord?, fencing: FlowChange.Fencing? = nil
    ) throws -> (record: FlowRecord, events: [FlowEvent], created: Bool) {
        let change = Self.change(body, fencing: fencing)
        let decision = FlowTransition.decide(change, current: current, epoch: Self.epoch, limits: .init())
        guard case .write(let record, let events, let created) = decision else {
            throw Violation(description: "not written: \(decision)")
        }
        return (record, events, created)
    }

    static func rejection(_ change: FlowChange, on current: FlowRecord?, limits: ChangeLimits = .init()) -> FlowOutcome.Rejection?
    {
        switch FlowTransition.decide(change, current: current, epoch: Self.epoch, limits: limits) {
        case .rejected(let rejection): rejection
        case .write, .unchanged, .unprepared: nil
        }
    }

    @Test func patchCreatesFlow() throws {
        let (record, events, created) = try Self.written(Self.patch(#"{"a":1,"b":null}"#), on: nil)
        #expect(created)
        #expect(record.version == 1)
        #expect(record.state.string == #"{"a":1}"#)
        #expect(record.head.resetVersion == 0)
        #expect(record.head.account == "1")
        #expect(events.map(\.version) == [1])
        #expect(events.first?.type == .stateUpdate)
        #expect(events.first?.payload.string == #"{"updates":{"a":1,"b":null}}"#)
        #expect(events.first?.createdAt == Timestamp(milliseconds: 1_000))
    }

    @Test(arguments: [#"{}"#, #"{"a":1}"#, #"{"b":null}"#])
    func patchWithoutEffectCreatesNoEvent(_ text: String) throws {
        let current = try Self.flow([Self.patch(#"{"a":1}"#)])
        let decision = FlowTransition.decide(
            Self.change(Self.patch(text)), current: current, epoch: Self.epoch, limits: .init())
        guard case .unchanged(let record) = decision else { throw Violation(description: "\(decision)") }
        #expect(record == current)
    }

    @Test func putReplacesState() throws {
        let current = try Self.flow([Self.patch(#"{"a":1}"#)])
        let (record, events, created) = try Self.written(Self.put(#"{"b":2}"#), on: current)
        #expect(!created)
        #expect(record.state.string == #"{"b":2}"#)
        #expect(record.head.resetVersion == 2)
        #expect(events.first?.payload.string == #"{"updates":{"b":2},"replace":true}"#)
    }

    @Test func deleteLeavesTombstone() throws {
        let current = try Self.flow([Self.patch(#"{"a":1}"#)])
        let (record, events, created) = try Self.written(.delete, on: current)
        #expect(!created)
        #expect(record.version == 2)
        #expect(record.head.isDeleted)
        #expect(record.head.status.isTerminal)
        #expect(record.state == .emptyObject)
        #expect(record.head.resetVersion == 2)
        #expect(events.first?.type == .flowDeleted)
        #expect(events.first?.payload == .emptyObject)
        #expect(Self.rejection(Self.change(.delete), on: record) == .notFound)
        #expect(Self.rejection(Self.change(.delete), on: nil) == .notFound)
    }

    @Test func recreatedFlowContinuesAboveTombstoneVersion() throws {
        let tombstone = try Self.flow([Self.patch(#"{"a":1}"#), .delete])
        let (record, events, created) = try Self.written(Self.patch(#"{"b":1,"c":null}"#), on: tombstone)
        #expect(created)
        #expect(record.version == 3)
        #expect(record.state.string == #"{"b":1}"#)
        #expect(record.head.resetVersion == 3)
        #expect(events.first?.payload.string == #"{"updates":{"b":1},"replace":true}"#)
        let (revived, published, _) = try Self.written(Self.publish(2), on: tombstone)
        #expect(revived.version == 4)
        #expect(revived.head.status == .active)
        #expect(revived.head.resetVersion == 2)
        #expect(published.map(\.version) == [3, 4])
        // Even a patch that leaves the state empty re-creates the flow.
        #expect(try Self.written(Self.patch("{}"), on: tombstone).record.version == 3)
    }

    @Test func rejectsChangeByOtherAccount() throws {
        let flow = try Self.flow([Self.patch(#"{"a":1}"#)])
        let tombstone = try Self.flow([Self.patch(#"{"a":1}"#), .delete])
        for body in [Self.patch("{}"), Self.put("{}"), .delete, Self.publish(1)] {
            for current in [flow, tombstone] {
                // As on a flow that does not exist: the other account learns neither the version nor that the flow exists.
                let conditional = Self.change(body, account: "2", if: .version(Self.epoch, 99))
                #expect(Self.rejection(conditional, on: current) == .preconditionFailed(0))
                let change = Self.change(body, account: "2")
                let isDelete = if case .delete = body { true } else { false }
                #expect(Self.rejection(change, on: current) == (isDelete ? .notFound : .otherAccount))
            }
        }
    }

    @Test func rejectsChangeUnlessPreconditionHolds() throws {
        let flow = try Self.flow([Self.patch(#"{"a":1}"#), Self.patch(#"{"a":2}"#)])
        let tombstone = try Self.flow([Self.patch(#"{"a":1}"#), .delete])
        func verdict(_ precondition: FlowChange.Precondition, _ current: FlowRecord?) -> FlowOutcome.Rejection? {
            Self.rejection(Self.change(Self.patch(#"{"z":1}"#), if: precondition), on: current)
        }
        #expect(verdict(.version(Self.epoch, 2), flow) == nil)
        #expect(verdict(.version(Self.epoch, 1), flow) == .preconditionFailed(2))
        #expect(verdict(.version(Epoch(counter: 7, random: "b"), 2), flow) == .preconditionFailed(2))
        #expect(verdict(.version(Self.epoch, 2), tombstone) == .preconditionFailed(0))
        #expect(verdict(.version(Self.epoch, 0), nil) == .preconditionFailed(0))
        let older = FlowChange.Precondition.VersionTag(epoch: Self.epoch, version: 1)
        #expect(verdict(.oneOf([older, .init(epoch: Self.epoch, version: 2)]), flow) == nil)
        #expect(verdict(.oneOf([]), flow) == .preconditionFailed(2))
        #expect(verdict(.exists, flow) == nil)
        #expect(verdict(.exists, tombstone) == .preconditionFailed(0))
        #expect(verdict(.exists, nil) == .preconditionFailed(0))
        #expect(verdict(.absent, flow) == .preconditionFailed(2))
        #expect(verdict(.absent, tombstone) == nil)
        #expect(verdict(.absent, nil) == nil)
    }

    @Test func publishedEventsGetConsecutiveVersions() throws {
        let flow = try Self.flow([Self.patch(#"{"status":"completed"}"#)])
        let (record, events, created) = try Self.written(Self.publish(3), on: flow)
        #expect(!created)
        #expect(record.version == 4)
        #expect(record.state == flow.state)
        #expect(record.head.status.rawValue == "completed")
        #expect(record.head.resetVersion == 1)
        #expect(events.map(\.version) == [2, 3, 4])
        #expect(events.map(\.payload.string) == [#"{"data":0}"#, #"{"data":1}"#, #"{"data":2}"#])
        #expect(try Self.written(Self.publish(1), on: nil).created)
    }

    @Test func resetVersionFollowsEndReopenReplaceAndDelete() throws {
        func reset(_ bodies: [FlowChange.Body]) throws -> Version { try Self.flow(bodies).head.resetVersion }
        let open = Self.patch(#"{"status":"active"}"#)
        let done = Self.patch(#"{"status":"completed"}"#)
        let failed = Self.patch(#"{"status":"failed"}"#)
        #expect(try reset([open, Self.publish(3)]) == 0)
        #expect(try reset([open, done]) == 2)
        #expect(try reset([done]) == 1, "created ended")
        #expect(try reset([open, done, failed]) == 2, "it had ended already")
        #expect(try reset([open, done, open]) == 2, "opened again")
        #expect(try reset([open, done, open, done]) == 4)
        #expect(try reset([open, Self.put("{}"), open]) == 2)
        #expect(try reset([open, .delete, open]) == 3)
    }
}
