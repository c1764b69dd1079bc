import FlowCore

extension StreamChecker {
    mutating func take(_ block: EventBlock) {
        if self.isFirstBlock {
            self.isFirstBlock = false
            if block.retry == nil { self.report("was not told how long to wait before it reconnects", block) }
        }
        if self.hasClosed { self.report("got something after the stream was closed", block) }
        guard block.data != nil else {
            if block.id != nil { self.checkID(of: block, isAlone: true) }
            return
        }
        switch block.event {
        case "heartbeat": self.expectNoID(block)
        case "closing": self.takeClosing(block)
        case "snapshot", "resync", "caught_up", "presence": self.takeControl(block)
        default: self.takeEvent(block)
        }
    }

    private mutating func expectNoID(_ block: EventBlock) {
        if block.id != nil { self.report("a word of the hub moves the cursor", block) }
    }

    private func index(of block: EventBlock) -> Int? { self.places.firstIndex { $0.flow == block.flow && !$0.hasEnded } }

    // MARK: The hub's own

    private mutating func takeControl(_ block: EventBlock) {
        guard let index = self.index(of: block) else {
            self.report("got something of a flow that it does not watch (any more)", block)
            return
        }
        if block.event != "snapshot" { self.expectNoID(block) }
        switch block.event {
        case "snapshot": self.takeSnapshot(block, index)
        case "resync": self.takeResync(block, index)
        case "caught_up": self.takeCaughtUp(block, index)
        default:
            if !self.target.wantsPresence { self.report("did not ask for presence", block) }
            if (block.json.member("count")?.intValue ?? 0) < 1 { self.report("is present, but was not counted", block) }
        }
    }

    private mutating func takeSnapshot(_ block: EventBlock, _ index: Int) {
        let place = self.places[index]
        let journal = self.journal(place.flow)
        guard let version = block.version, let state = block.json.member("state") else {
            self.report("a snapshot without version or state", block)
            return
        }
        if place.version != nil { self.report("a snapshot that nobody asked for", block) }
        if let due = place.dueResync { self.report("a snapshot without the resync that was due (\(due.rawValue))", block) }
        if place.withdrawnAt != nil {
            self.report("a snapshot without a word that the place at \(place.withdrawnAt ?? 0) was lost", block)
        }
        if place.version == nil, place.adoptsPlace, place.toldResync == nil { self.report("wanted no snapshot", block) }
        if let point = journal.point(version) {
            if !point.state.isEquivalent(to: state) { self.report("a snapshot with another state than \(point.state)", block) }
            if point.status != block.json.member("status")?.stringValue {
                self.report("a snapshot with another status than \(point.status)", block)
            }
            self.checkLast(block, index, since: point.resetVersion)
        } else {
            self.report("a snapshot at a version that there never was", block)
        }
        if let epoch = block.id.flatMap({ Self.epoch(of: $0) }), let highest = place.highest[epoch], version < highest {
            self.report("a snapshot at \(version) after version \(highest) was seen", block)
        }
        self.places[index].version = version
        self.places[index].state = state
        self.places[index].stateVersion = version
        self.places[index].adoptsPlace = false
        let told = place.toldResync
        self.checkID(of: block, mayChangeEpoch: told == .epoch)
        self.places[index].toldResync = nil
    }

    /// The latest transient events that come with a snapshot.
    private mutating func checkLast(_ block: EventBlock, _ index: Int, since reset: Version) {
        let journal = self.journal(self.places[index].flow)
        for (type, envelope) in block.json.member("last")?.members ?? [] {
            guard let number = Self.number(of: envelope, in: journal) else {
                self.report("a snapshot with a transient event \(type) that was never sent: \(envelope)", block)
                continue
            }
            if journal.transients[number].sentAt < reset {
                self.report("a snapshot with a transient event from before version \(reset): \(envelope)", block)
            }
            self.places[index].lastTransients[type] = number
        }
    }

    private mutating func takeResync(_ block: EventBlock, _ index: Int) {
        let place = self.places[index]
        guard let reason = block.json.member("reason")?.stringValue.flatMap({ ResyncReason(rawValue: $0) }),
            let to = block.json.member("to")?.intValue
        else {
            self.report("a resync without reason or version", block)
            return
        }
        let from = block.json.member("from")?.intValue
        if let due = place.dueResync, due != reason { self.report("the reason should be \(due.rawValue)", block) }
        if let from, let known = place.withdrawnAt ?? place.version, from != known {
            self.report("a resync from \(from), but the subscriber was at \(known)", block)
        }
        switch reason {
        case .historyPruned:
            let oldest = self.facts.oldest[place.flow] ?? 1
            if let from, from + 1 >= oldest { self.report("history still holds \(from + 1), it begins at \(oldest)", block) }
        case .cursorAhead:
            if let from, from <= to { self.report("the cursor is not ahead", block) }
        case .badCursor, .otherFlows:
            if place.dueResync != reason { self.report("nothing was wrong with the cursor", block) }
        case .epoch: break
        }
        self.places[index].dueResync = nil
        self.places[index].withdrawnAt = nil
        self.places[index].toldResync = reason
        self.places[index].version = nil
        self.places[index].isCaughtUp = false
    }

    private mutating func takeCaughtUp(_ block: EventBlock, _ index: Int) {
        let place = self.places[index]
        guard let version = block.version else { return self.report("caught up without a version", block) }
        if place.dueResync != nil || place.toldResync != nil || place.withdrawnAt != nil {
            self.report("caught up without having been given a place", block)
        } else if place.adoptsPlace {
            self.places[index].adopt(version)
        } else if place.version != version {
            self.report("caught up at \(version), but the subscriber is at \(place.version.map(String.init) ?? "none")", block)
        }
        self.places[index].isCaughtUp = true
    }

    private mutating func takeClosing(_ block: EventBlock) {
        self.expectNoID(block)
        let reason = block.json.member("reason")?.stringValue ?? ""
        if block.json.member("reconnect")?.boolValue == nil { self.report("closed without a word about coming back", block) }
        let ended: [Int]
        if block.flow != nil {
            guard let index = self.index(of: block) else { return self.report("a flow ended that was not watched", block) }
            ended = [index]
            self.places[index].hasEnded = true
        } else {
            ended = self.places.indices.filter { !self.places[$0].hasEnded }
            self.hasClosed = true
        }
        guard ["finished", "deleted"].contains(reason) else { return }
        for index in ended {
            let place = self.places[index]
            let point = place.version.flatMap { self.journal(place.flow).point($0) }
            if point?.isTerminal != true {
                self.report("\(place.flow) was ended at \(place.version ?? -1), where it has no end", block)
            } else if (point?.status == "deleted") != (reason == "deleted") {
                self.report("\(place.flow) is \(point?.status ?? "")", block)
            }
        }
    }

    // MARK: Events

    private mutating func takeEvent(_ block: EventBlock) {
        guard let index = self.index(of: block) else {
            self.report("got an event of a flow that it does not watch (any more)", block)
            return
        }
        if let types = self.target.types, !types.contains(block.event) { self.report("did not ask for this type", block) }
        let json = block.json
        if json.member("type")?.stringValue != block.event { self.report("the event's name is not its type", block) }
        guard let version = block.version else { return self.takeTransient(block, index) }
        guard block.id != nil else { return self.report("a durable event without an id", block) }
        let place = self.places[index]
        if let at = place.version {
            if version <= at {
                self.report("version \(version) came again or too late, after \(at)", block)
            } else if !self.isFilteredOut(from: at + 1, to: version - 1, place.flow) {
                self.report("version \(version) came after \(at): a gap", block)
            }
        } else if !place.adoptsPlace {
            self.report("an event before the snapshot that is due", block)
        }
        let entry = FlowJournal.Entry(envelope: json)
        if let known = self.journal(place.flow).entry(version) {
            if !known.isEquivalent(to: entry) { self.report("not the event that was published: \(known)", block) }
        } else {
            self.report("an event that was never acknowledged and is not in the store", block)
        }
        // With some versions left out on demand, the state is followed all the same if all of its changes were asked for.
        if let at = place.version, version > at, self.seesStates, place.stateVersion == at {
            self.places[index].stateVersion = version - 1
        }
        self.places[index].adoptsPlace = false
        self.places[index].take(entry, version: version)
        self.checkID(of: block)
    }

    private mutating func takeTransient(_ block: EventBlock, _ index: Int) {
        self.expectNoID(block)
        guard let number = Self.number(of: block.json, in: self.journal(self.places[index].flow)) else {
            return self.report("a transient event that was never sent", block)
        }
        if let last = self.places[index].lastTransients[block.event], number <= last {
            self.report("a transient event that came before, or a later one did", block)
        }
        self.places[index].lastTransients[block.event] = number
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
