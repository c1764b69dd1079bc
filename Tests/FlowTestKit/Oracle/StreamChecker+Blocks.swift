import FlowCore

extension StreamChecker {
    mutating func check(_ block: EventBlock) {
        if self.isFirstBlock {
            self.isFirstBlock = false
            if block.retry == nil { self.report("the first block of a connection has no retry", block) }
        }
        if self.hasClosed { self.report("received a block after the closing event of the stream", block) }
        // Some clients dispatch such a block as an empty message.
        guard block.data != nil else { return self.report("a block without data", block) }
        if block.json.member("type")?.stringValue != block.event { self.report("the event field differs from the type", block) }
        switch block.event {
        case "heartbeat": self.checkOptionalID(block)
        case "closing": self.checkClosing(block)
        case "snapshot", "resync", "caught_up", "presence": self.checkControl(block)
        default: self.checkEvent(block)
        }
    }

    private mutating func expectNoID(_ block: EventBlock) {
        if block.id != nil { self.report("an event that must not have an id has one", block) }
    }

    /// The index of the block's flow; `nil` if the subscriber does not watch it or no longer watches it.
    func index(of block: EventBlock) -> Int? {
        block.flow.flatMap { self.indices[$0] }.flatMap { self.trackedFlows[$0].hasEnded ? nil : $0 }
    }

    /// Checks the id of a control event, which has one if the type filter left out events since the previous id.
    private mutating func checkOptionalID(_ block: EventBlock) {
        if block.id != nil { self.checkID(of: block, mayRepeatCursor: true) }
    }

    // MARK: Control events

    private mutating func checkControl(_ block: EventBlock) {
        guard let index = self.index(of: block) else {
            self.report("received a control event of a flow that it does not watch or no longer watches", block)
            return
        }
        switch block.event {
        case "snapshot": self.checkSnapshot(block, index)
        case "resync": self.checkResync(block, index)
        case "caught_up": self.checkCaughtUp(block, index)
        default:
            self.expectNoID(block)
            if !self.target.wantsPresence { self.report("received presence without a request for it", block) }
            if (block.json.member("count")?.intValue ?? 0) < 1 { self.report("presence does not count this subscriber", block) }
        }
    }

    private mutating func checkSnapshot(_ block: EventBlock, _ index: Int) {
        let tracked = self.trackedFlows[index]
        let journal = self.journal(tracked.flow)
        guard let version = block.version, let state = block.json.member("state") else {
            self.report("a snapshot without version or state", block)
            return
        }
        if tracked.version != nil { self.report("an unexpected snapshot", block) }
        if let expected = tracked.expectedResync {
            self.report("a snapshot without the expected resync (\(expected.rawValue))", block)
        }
        if tracked.withdrawnAt != nil {
            self.report("a snapshot without a resync for the lost position at version \(tracked.withdrawnAt ?? 0)", block)
        }
        if tracked.version == nil, tracked.adoptsPosition, tracked.announcedResync == nil {
            self.report("a snapshot in spite of snapshot=0", block)
        }
        if let snapshot = journal.snapshot(at: version) {
            if !snapshot.state.isEquivalent(to: state) {
                self.report("the snapshot's state should be \(snapshot.state)", block)
            }
            if snapshot.status != block.json.member("status")?.stringValue {
                self.report("the snapshot's status should be \(snapshot.status)", block)
            }
            self.checkLast(block, index, since: snapshot.resetVersion)
        } else {
            self.report("a snapshot at a version that never existed", block)
        }
        if let epoch = block.id.flatMap({ Self.epoch(of: $0) }), let highest = tracked.highest[epoch], version < highest {
            self.report("a snapshot at version \(version) after version \(highest)", block)
        }
        self.trackedFlows[index].version = version
        self.trackedFlows[index].state = state
        self.trackedFlows[index].stateVersion = version
        self.trackedFlows[index].adoptsPosition = false
        let announced = tracked.announcedResync
        self.checkID(of: block, mayChangeEpoch: announced == .epoch)
        self.trackedFlows[index].announcedResync = nil
    }

    /// Checks the latest transients of a snapshot.
    private mutating func checkLast(_ block: EventBlock, _ index: Int, since reset: Version) {
        let journal = self.journal(self.trackedFlows[index].flow)
        for (type, envelope) in block.json.member("last")?.members ?? [] {
            guard let number = Self.number(of: envelope, in: journal) else {
                self.report("a snapshot with a transient event \(type) that was never sent: \(envelope)", block)
                continue
            }
            if journal.transients[number].sentAt < reset {
                self.report("a snapshot with a transient event from before version \(reset): \(envelope)", block)
            }
            self.trackedFlows[index].lastTransients[type] = number
        }
    }

    private mutating func checkResync(_ block: EventBlock, _ index: Int) {
        self.expectNoID(block)
        let tracked = self.trackedFlows[index]
        guard let reason = block.json.member("reason")?.stringValue.flatMap({ ResyncReason(rawValue: $0) }),
            let to = block.json.member("to")?.intValue
        else {
            self.report("a resync without reason or version", block)
            return
        }
        let from = block.json.member("from")?.intValue
        // The epoch may be raised before the snapshot is sent, whose resync then has that reason.
        let mayBeReplaced = reason == .epoch && self.facts.epochs.count > 1
        if let expected = tracked.expectedResync, expected != reason, !mayBeReplaced {
            self.report("the reason of the resync should be \(expected.rawValue)", block)
        }
        // No block has told the subscriber of events that its type filter left out.
        if let from, let known = tracked.withdrawnAt ?? tracked.version,
            from < known || !self.isFilteredOut(from: known + 1, to: from, tracked.flow)
        {
            self.report("a resync from \(from), but the subscriber was at \(known)", block)
        }
        switch reason {
        case .historyPruned:
            let oldest = self.facts.oldest[tracked.flow] ?? 1
            if let from, from + 1 >= oldest { self.report("history still has \(from + 1), it starts at \(oldest)", block) }
        case .cursorAhead:
            if let from, from <= to { self.report("the cursor is not ahead", block) }
        case .badCursor, .otherFlows:
            if tracked.expectedResync != reason { self.report("a resync in spite of a valid cursor", block) }
        case .epoch: break
        }
        self.trackedFlows[index].expectedResync = nil
        self.trackedFlows[index].withdrawnAt = nil
        self.trackedFlows[index].announcedResync = reason
        self.trackedFlows[index].version = nil
        self.trackedFlows[index].isCaughtUp = false
    }

    private mutating func checkCaughtUp(_ block: EventBlock, _ index: Int) {
        guard let version = block.version else { return self.report("caught up without a version", block) }
        let tracked = self.trackedFlows[index]
        if tracked.expectedResync != nil || tracked.announcedResync != nil || tracked.withdrawnAt != nil {
            self.report("caught up before the due resync or snapshot", block)
        } else {
            self.checkID(of: block, mayRepeatCursor: true)
            let position = self.trackedFlows[index].version
            if position != version {
                self.report("caught up at \(version), but the subscriber is at \(position.map(String.init) ?? "none")", block)
            }
        }
        self.trackedFlows[index].isCaughtUp = true
    }

    private mutating func checkClosing(_ block: EventBlock) {
        self.checkOptionalID(block)
        let reason = block.json.member("reason")?.stringValue ?? ""
        if block.json.member("reconnect")?.boolValue == nil { self.report("a closing event without reconnect", block) }
        let ended: [Int]
        if block.flow != nil {
            guard let index = self.index(of: block) else { return self.report("a closing event of an unwatched flow", block) }
            ended = [index]
            self.trackedFlows[index].hasEnded = true
        } else {
            ended = self.trackedFlows.indices.filter { !self.trackedFlows[$0].hasEnded }
            self.hasClosed = true
        }
        guard ["finished", "deleted"].contains(reason) else { return }
        for index in ended {
            let tracked = self.trackedFlows[index]
            let snapshot = tracked.version.flatMap { self.journal(tracked.flow).snapshot(at: $0) }
            if snapshot?.isTerminal != true {
                self.report("closed \(tracked.flow) at version \(tracked.version ?? -1), where it is not terminal", block)
            } else if (snapshot?.status == "deleted") != (reason == "deleted") {
                self.report("closed \(tracked.flow), whose status is \(snapshot?.status ?? "")", block)
            }
        }
    }

    // MARK: Events

    private mutating func checkEvent(_ block: EventBlock) {
        guard let index = self.index(of: block) else {
            self.report("received an event of a flow that it does not watch or no longer watches", block)
            return
        }
        if let types = self.target.types, !types.contains(block.event) {
            self.report("an event of a type that is filtered out", block)
        }
        let json = block.json
        guard let version = block.version else { return self.checkTransient(block, index) }
        guard block.id != nil else { return self.report("a durable event without an id", block) }
        let tracked = self.trackedFlows[index]
        if let at = tracked.version {
            if version <= at {
                self.report("version \(version) is repeated or out of order after \(at)", block)
            } else if !self.isFilteredOut(from: at + 1, to: version - 1, tracked.flow) {
                self.report("a gap: version \(version) after \(at)", block)
            }
        } else if !tracked.adoptsPosition {
            self.report("an event before the due snapshot", block)
        }
        let entry = FlowJournal.Entry(envelope: json)
        if let known = self.journal(tracked.flow).entry(version) {
            if !known.isEquivalent(to: entry) { self.report("differs from the published event \(known)", block) }
        } else {
            self.report("an event that was never acknowledged and is not in the store", block)
        }
        // If the type filter includes all state changes, the versions that it skipped did not change the state.
        if let at = tracked.version, version > at, self.seesStates, tracked.stateVersion == at {
            self.trackedFlows[index].stateVersion = version - 1
        }
        self.trackedFlows[index].adoptsPosition = false
        self.trackedFlows[index].apply(entry, version: version)
        self.checkID(of: block)
    }

    private mutating func checkTransient(_ block: EventBlock, _ index: Int) {
        self.expectNoID(block)
        guard let number = Self.number(of: block.json, in: self.journal(self.trackedFlows[index].flow)) else {
            return self.report("a transient event that was never sent", block)
        }
        if let last = self.trackedFlows[index].lastTransients[block.event], number <= last {
            self.report("a transient event that is repeated or out of order", block)
        }
        self.trackedFlows[index].lastTransients[block.event] = number
    }

    private static func number(of envelope: JSONText, in journal: FlowJournal) -> Int? {
        let type = envelope.member("type")?.stringValue
        guard let data = envelope.member("data") else { return nil }
        return journal.transients.lastIndex { $0.type == type && $0.data.isEquivalent(to: data) }
    }

    func isFilteredOut(from first: Version, to last: Version, _ flow: String) -> Bool {
        guard first <= last else { return true }
        guard let types = self.target.types else { return false }
        let journal = self.journal(flow)
        return (first...last).allSatisfy { version in journal.entry(version).map { !types.contains($0.type) } ?? false }
    }
}
