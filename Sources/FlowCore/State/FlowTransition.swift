/// The effect of a change on a flow, decided by a pure function of the flow and the change.
///
/// A store reads the flow, decides, and writes the result in one transaction that verifies that the flow was still at the
/// version read. Because all stores use this function, SQLite and Postgres decide alike.
public enum FlowTransition: Sendable {
    /// Write the stored flow and append the events. `created` is whether the flow did not exist before, or was a tombstone.
    case write(FlowRecord, events: [FlowEvent], created: Bool)
    /// Write nothing: the patch has no effect.
    case unchanged(FlowRecord)
    /// Write nothing, and reject the change.
    case rejected(FlowOutcome.Rejection)
    /// Write nothing: the patch must be applied to this state before the change can be decided, see
    /// ``FlowChange/Preparation/ahead(_:)``.
    case unprepared(base: JSONText)

    /// Decides a change. Checks are made in this order: account, precondition, fencing token, content. For another account
    /// than its own a flow does not exist; it only keeps that account from creating a flow with the same id.
    /// - Parameters:
    ///   - current: the flow as stored, or its tombstone; `nil` if it never existed.
    ///   - floor: the version above which a flow starts that is created while `current` is `nil`: its id may have belonged to a
    ///     flow whose tombstone has ended.
    ///   - epoch: the adopted epoch, for preconditions.
    public static func decide(
        _ change: FlowChange, current: FlowRecord?, floor: Version = 0, epoch: Epoch, limits: ChangeLimits
    ) -> FlowTransition {
        if let current, current.head.account != change.account {
            return Self.decideForeign(change, epoch: epoch, limits: limits)
        }
        // The clocks of instances differ and jump. The maximum keeps a flow's times from decreasing while its version
        // rises.
        var change = change
        if let current { change.at = max(change.at, current.head.updatedAt) }
        let existing = current.flatMap { $0.head.isDeleted ? nil : $0 }
        if let failure = Self.check(change.precondition, existing: existing, version: current?.version ?? 0, epoch: epoch) {
            return .rejected(failure)
        }
        var fence = current?.fence ?? .emptyObject
        if let fencing = change.fencing {
            switch Self.advance(fence, by: fencing, limit: limits.maximumFences) {
            case .success(let advanced): fence = advanced
            case .failure(let rejection): return .rejected(rejection.value)
            }
        }
        switch change.body {
        case .patch(let patch):
            // A flow that is re-created after its deletion has no state to patch: the patch is its whole state, and its
            // event replaces the state that subscribers have.
            let base = existing?.state ?? .emptyObject
            guard let result = change.patchResult(of: patch, on: base) else { return .unprepared(base: base) }
            // A higher fencing token must be written even if the patch has no effect: otherwise the lock's older holder
            // could still write.
            if let existing, !result.isChanged, fence == existing.fence { return .unchanged(existing) }
            return Self.writeState(
                result.state, depth: result.depth, status: result.status, updates: patch,
                replaces: existing == nil && (current != nil || floor > 0), change: change, current: current, floor: floor,
                existing: existing, fence: fence, limits: limits)
        case .replace(let state):
            let (depth, status) = change.properties(of: state)
            return Self.writeState(
                state, depth: depth, status: status, updates: state, replaces: true, change: change, current: current,
                floor: floor, existing: existing, fence: fence, limits: limits)
        case .delete:
            return Self.tombstone(change, existing: existing, fence: fence)
        case .publish(let events):
            if events.isEmpty { return .rejected(.emptyPublication) }
            return Self.append(events, change: change, current: current, floor: floor, existing: existing, fence: fence)
        }
    }

    // MARK: Preconditions and fences

    /// Checks whether the flow meets the precondition of its change.
    /// - Parameters:
    ///   - existing: the flow; `nil` if it does not exist or is a tombstone.
    ///   - version: the version of the flow or its tombstone; 0 if it never existed.
    /// - Returns: `nil` if the precondition is met.
    private static func check(
        _ precondition: FlowChange.Precondition, existing: FlowRecord?, version: Version, epoch: Epoch
    ) -> FlowOutcome.Rejection? {
        let isMet =
            switch precondition {
            case .none: true
            case .oneOf(let tags): existing != nil && tags.contains(.init(epoch: epoch, version: version))
            case .exists: existing != nil
            case .absent: existing == nil
            }
        return isMet ? nil : .preconditionFailed(existing == nil ? 0 : version)
    }

    /// Decides a change of another account's flow: as if the flow did not exist, unless the change would create it.
    private static func decideForeign(_ change: FlowChange, epoch: Epoch, limits: ChangeLimits) -> FlowTransition {
        switch Self.decide(change, current: nil, epoch: epoch, limits: limits) {
        case .write: .rejected(.otherAccount)
        case let other: other
        }
    }

    /// A rejection in the form of an error, as `Result` requires.
    private struct FenceFailure: Error { var value: FlowOutcome.Rejection }

    /// Raises the fence of one resource to the token. A token equal to the fence is accepted, since one holder writes
    /// often.
    /// - Parameter limit: maximum number of resources with a fence.
    /// - Returns: the new fences; a failure if the token is lower than the fence, or if the limit is exceeded.
    private static func advance(
        _ fence: JSONText, by fencing: FlowChange.Fencing, limit: Int
    ) -> Result<JSONText, FenceFailure> {
        let highest = fence.member(fencing.resource)?.intValue
        if let highest, highest > fencing.token {
            return .failure(FenceFailure(value: .staleFencingToken(resource: fencing.resource, highest: highest)))
        }
        if highest == nil, fence.members.count >= limit {
            return .failure(FenceFailure(value: .tooManyFences(limit: limit)))
        }
        let entry = JSONText.object { writer in
            writer.key(fencing.resource)
            writer.value(fencing.token)
        }
        return .success(fence.applying(mergePatch: entry))
    }

    // MARK: Effects

    /// Writes a new state with one event `state_update`.
    /// - Parameters:
    ///   - depth: the nesting depth of `state`.
    ///   - status: the status in `state`.
    ///   - updates: the patch, for the event; unused if `replaces`.
    ///   - replaces: whether the event contains the whole state, with `"replace": true`.
    ///   - existing: `current`; `nil` if that is a tombstone.
    private static func writeState(
        _ state: JSONText, depth: Int, status: FlowStatus, updates: JSONText, replaces: Bool, change: FlowChange,
        current: FlowRecord?, floor: Version, existing: FlowRecord?, fence: JSONText, limits: ChangeLimits
    ) -> FlowTransition {
        if state.bytes.count > limits.maximumStateBytes {
            return .rejected(.stateTooLarge(bytes: state.bytes.count, limit: limits.maximumStateBytes))
        }
        if depth > limits.maximumDepth { return .rejected(.stateTooDeep(limit: limits.maximumDepth)) }
        if status == .deleted { return .rejected(.reservedStatus) }
        let version = (current?.version ?? floor) + 1
        let ends = status.isTerminal && existing?.head.status.isTerminal != true
        let payload = JSONText.object { writer in
            writer.key("updates")
            writer.raw(replaces ? state : updates)
            if replaces {
                writer.key("replace")
                writer.value(true)
            }
        }
        let head = FlowHead(
            flow: change.flow, account: change.account, version: version, status: status,
            resetVersion: ends || replaces ? version : current?.head.resetVersion ?? 0, updatedAt: change.at)
        let event = FlowEvent(version: version, type: .stateUpdate, payload: payload, createdAt: change.at)
        return .write(FlowRecord(head: head, state: state, fence: fence), events: [event], created: existing == nil)
    }

    /// Replaces an existing flow by a tombstone, with one event `flow_deleted`.
    private static func tombstone(_ change: FlowChange, existing: FlowRecord?, fence: JSONText) -> FlowTransition {
        guard var record = existing else { return .rejected(.notFound) }
        record.head.version += 1
        record.head.status = .deleted
        record.head.resetVersion = record.head.version
        record.head.updatedAt = change.at
        record.state = .emptyObject
        record.fence = fence
        let event = FlowEvent(
            version: record.version, type: .flowDeleted, payload: .emptyObject, createdAt: change.at)
        return .write(record, events: [event], created: false)
    }

    /// Appends the publisher's events. Creates the flow with the state `{}` if it does not exist.
    private static func append(
        _ new: [FlowChange.NewEvent], change: FlowChange, current: FlowRecord?, floor: Version, existing: FlowRecord?,
        fence: JSONText
    ) -> FlowTransition {
        var record =
            existing
            ?? FlowRecord(
                head: FlowHead(
                    flow: change.flow, account: change.account, version: current?.version ?? floor, status: .active,
                    resetVersion: current?.head.resetVersion ?? (floor > 0 ? floor + 1 : 0), updatedAt: change.at),
                state: .emptyObject)
        var events: [FlowEvent] = []
        for event in new {
            record.head.version += 1
            let payload = JSONText.object { writer in
                writer.key("data")
                writer.raw(event.data)
            }
            events.append(FlowEvent(version: record.version, type: event.type, payload: payload, createdAt: change.at))
        }
        record.head.updatedAt = change.at
        record.fence = fence
        return .write(record, events: events, created: existing == nil)
    }
}
