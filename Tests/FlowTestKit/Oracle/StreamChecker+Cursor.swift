import FlowCore

extension StreamChecker {
    static func epoch(of id: String) -> Epoch? {
        switch Cursor(id) {
        case .flow(let epoch, _), .flows(let epoch, _, _): epoch
        case .none, .start, .unreadable: nil
        }
    }

    /// Checks that a block's cursor is the subscriber's position in every flow. It may advance over versions that the type filter
    /// skipped, in any flow.
    ///
    /// - Parameters:
    ///   - mayRepeatCursor: whether the id may repeat the client's cursor of other flows, which is unverified.
    ///   - mayChangeEpoch: whether a resync with the reason `epoch` precedes the block.
    mutating func checkID(of block: EventBlock, mayRepeatCursor: Bool = false, mayChangeEpoch: Bool = false) {
        guard let id = block.id else { return self.report("a block without its required id", block) }
        let isPlain = id.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        if id.utf8.count > Cursor.maximumPlainLength || !isPlain {
            self.report("an id that would require a CORS preflight", block)
        }
        if self.target.hasOwnCursors {
            self.checkOwnID(id, of: block, mayChangeEpoch: mayChangeEpoch)
            return
        }
        let epoch: Epoch
        let versions: [Version?]
        switch Cursor(id) {
        case .flow(let idEpoch, let version) where self.trackedFlows.count == 1: (epoch, versions) = (idEpoch, [version])
        case .flows(let idEpoch, let hash, let all) where self.trackedFlows.count > 1 && all.count == self.trackedFlows.count:
            if hash != self.flowSetHash { self.report("an id of other flows", block) }
            (epoch, versions) = (idEpoch, all)
        default: return self.report("an id that is not a cursor of this stream", block)
        }
        self.checkEpoch(epoch, block, mayChange: mayChangeEpoch)
        for index in self.trackedFlows.indices {
            self.checkPosition(index, versions[index], block)
            if let named = versions[index], !mayRepeatCursor || self.trackedFlows[index].flow == block.flow {
                self.trackedFlows[index].highest[epoch] = max(self.trackedFlows[index].highest[epoch] ?? 0, named)
            }
        }
    }

    /// Checks the id of a block on a stream whose flows have their own cursors: it is the position in the block's flow.
    private mutating func checkOwnID(_ id: String, of block: EventBlock, mayChangeEpoch: Bool) {
        guard case .flow(let epoch, let version) = Cursor(id), let index = self.index(of: block) else {
            return self.report("an id that is not a cursor of the block's flow", block)
        }
        if !self.facts.epochs.contains(epoch) { self.report("an id of an epoch that the store never had", block) }
        if let before = self.trackedFlows[index].epoch, before != epoch, !mayChangeEpoch {
            self.report("the epoch changed from \(before) without a resync", block)
        }
        self.trackedFlows[index].epoch = epoch
        self.checkPosition(index, version, block)
        self.trackedFlows[index].highest[epoch] = max(self.trackedFlows[index].highest[epoch] ?? 0, version)
    }

    private mutating func checkEpoch(_ epoch: Epoch, _ block: EventBlock, mayChange: Bool) {
        if !self.facts.epochs.contains(epoch) { self.report("an id of an epoch that the store never had", block) }
        guard let before = self.epoch, before != epoch else {
            self.epoch = epoch
            return
        }
        if !mayChange { self.report("the epoch changed from \(before) without a resync", block) }
        self.epoch = epoch
        // Every other flow must get a resync and a snapshot.
        for index in self.trackedFlows.indices where self.trackedFlows[index].flow != block.flow {
            if let version = self.trackedFlows[index].version {
                self.trackedFlows[index].withdrawnAt = version
                self.trackedFlows[index].version = nil
            }
        }
    }

    private mutating func checkPosition(_ index: Int, _ named: Version?, _ block: EventBlock) {
        let tracked = self.trackedFlows[index]
        switch (named, tracked.version) {
        case (nil, nil): break
        case (let named?, let known?) where named == known: break
        case (nil, let known?):
            // The position is lost and a resync must follow. checkSnapshot and finish report it if it does not.
            self.trackedFlows[index].withdrawnAt = known
            self.trackedFlows[index].version = nil
        case (let named?, nil):
            if tracked.adoptsPosition {
                self.trackedFlows[index].adopt(named)
            } else {
                self.report("the cursor names version \(named) of \(tracked.flow) before its snapshot", block)
            }
        case (let named?, let known?):
            if named < known {
                self.report("the cursor goes back in \(tracked.flow), from \(known) to \(named)", block)
            } else if !self.isFilteredOut(from: known + 1, to: named, tracked.flow) {
                self.report("the cursor skips versions \(known + 1) to \(named) of \(tracked.flow)", block)
            }
            self.trackedFlows[index].version = named
            if self.seesStates, tracked.stateVersion == known { self.trackedFlows[index].stateVersion = named }
        }
    }
}
