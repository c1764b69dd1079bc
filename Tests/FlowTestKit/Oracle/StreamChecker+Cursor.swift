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
        case .flow(let its, let version) where self.places.count == 1: (epoch, versions) = (its, [version])
        case .flows(let its, let hash, let several) where self.places.count > 1 && several.count == self.places.count:
            if hash != self.flowSetHash { self.report("an id of other flows", block) }
            (epoch, versions) = (its, several)
        default: return self.report("an id that cannot be read", block)
        }
        self.checkEpoch(epoch, block, mayChange: mayChangeEpoch)
        for index in self.places.indices {
            self.checkPlace(index, versions[index], block, isAlone: isAlone)
            // An id alone may repeat what the client claims, which may be nonsense.
            if let told = versions[index], !isAlone {
                self.places[index].highest[epoch] = max(self.places[index].highest[epoch] ?? 0, told)
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
        for index in self.places.indices where self.places[index].flow != block.flow {
            if let version = self.places[index].version {
                self.places[index].withdrawnAt = version
                self.places[index].version = nil
            }
        }
    }

    private mutating func checkPlace(_ index: Int, _ told: Version?, _ block: EventBlock, isAlone: Bool) {
        let place = self.places[index]
        switch (told, place.version) {
        case (nil, nil): break
        case (let told?, let known?) where told == known: break
        case (nil, let known?):
            // Its place is lost; the notice must follow, and the end of the check sees to it.
            self.places[index].withdrawnAt = known
            self.places[index].version = nil
        case (let told?, nil):
            if place.adoptsPlace {
                self.places[index].adopt(told)
            } else {
                self.report("the cursor names version \(told) of \(place.flow) before its snapshot", block)
            }
        case (let told?, let known?):
            if told < known {
                self.report("the cursor goes back in \(place.flow), from \(known) to \(told)", block)
            } else if !isAlone || !self.isFilteredOut(from: known + 1, to: told, place.flow) {
                self.report("the cursor passes over versions \(known + 1) to \(told) of \(place.flow)", block)
            }
            self.places[index].version = told
            if self.seesStates, place.stateVersion == known { self.places[index].stateVersion = told }
        }
    }
}
