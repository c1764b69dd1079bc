import FlowCore

extension StreamChecker {
    static func epoch(of id: String) -> Epoch? {
        switch Cursor(id) {
        case .flow(let epoch, _), .flows(let epoch, _, _): epoch
        case .none, .start, .unreadable: nil
        }
    }

    /// The cursor that a block tells must be where its subscriber is, in every flow.
    ///
    /// - Parameters:
    ///   - isAlone: the block has nothing but its id: it may tell that versions were left out on demand.
    ///   - mayChangeEpoch: a notice was given that the store's history is another one.
    mutating func checkID(of block: EventBlock, isAlone: Bool = false, mayChangeEpoch: Bool = false) {
        guard let id = block.id else { return self.report("a block without the id that it needs", block) }
        let isPlain = id.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        if id.utf8.count > 128 || !isPlain { self.report("an id that would cost a preflight", block) }
        let epoch: Epoch
        let versions: [Version?]
        switch Cursor(id) {
        case .flow(let its, let version) where self.trackedFlows.count == 1: (epoch, versions) = (its, [version])
        case .flows(let its, let hash, let several) where self.trackedFlows.count > 1 && several.count == self.trackedFlows.count:
            if hash != self.flowSetHash { self.report("an id of other flows", block) }
            (epoch, versions) = (its, several)
        default: return self.report("an id that cannot be read", block)
        }
        self.checkEpoch(epoch, block, mayChange: mayChangeEpoch)
        for index in self.trackedFlows.indices {
            self.checkPosition(index, versions[index], block, isAlone: isAlone)
            // An id alone may repeat what the client claims, which may be nonsense.
            if let named = versions[index], !isAlone {
                self.trackedFlows[index].highest[epoch] = max(self.trackedFlows[index].highest[epoch] ?? 0, named)
            }
        }
    }

    private mutating func checkEpoch(_ epoch: Epoch, _ block: EventBlock, mayChange: Bool) {
        if !self.facts.epochs.contains(epoch) { self.report("an id of an epoch that the store never had", block) }
        guard let before = self.epoch, before != epoch else {
            self.epoch = epoch
            return
        }
        if !mayChange { self.report("the epoch changed from \(before) without a word", block) }
        self.epoch = epoch
        // Every other flow must be given its place anew.
        for index in self.trackedFlows.indices where self.trackedFlows[index].flow != block.flow {
            if let version = self.trackedFlows[index].version {
                self.trackedFlows[index].withdrawnAt = version
                self.trackedFlows[index].version = nil
            }
        }
    }

    private mutating func checkPosition(_ index: Int, _ named: Version?, _ block: EventBlock, isAlone: Bool) {
        let tracked = self.trackedFlows[index]
        switch (named, tracked.version) {
        case (nil, nil): break
        case (let named?, let known?) where named == known: break
        case (nil, let known?):
            // Its place is lost; the notice must follow, and the end of the check sees to it.
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
            } else if !isAlone || !self.isFilteredOut(from: known + 1, to: named, tracked.flow) {
                self.report("the cursor passes over versions \(known + 1) to \(named) of \(tracked.flow)", block)
            }
            self.trackedFlows[index].version = named
            if self.seesStates, tracked.stateVersion == known { self.trackedFlows[index].stateVersion = named }
        }
    }
}
