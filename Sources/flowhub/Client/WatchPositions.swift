import FlowCore

/// The positions of a watcher in its flows: the cursor of each.
struct WatchPositions: Hashable, Sendable {
    /// The watched flows, without duplicates.
    let flows: [FlowID]
    /// The cursor of each flow that has one.
    private(set) var cursors: [FlowID: String] = [:]

    /// - Parameter cursor: the position at which to start: empty, `0`, or what ``description`` returned for the same flows.
    /// - Returns: `nil` if the cursor is of other flows.
    init?(_ flows: [FlowID], cursor: String) {
        self.flows = flows
        if cursor.isEmpty { return }
        if flows.count == 1 || cursor == "0" {
            for flow in flows { self.cursors[flow] = cursor }
            return
        }
        let sorted = flows.sorted()
        guard case .flows(let epoch, let hash, let versions) = Cursor(cursor, maximumLength: .max), versions.count == flows.count,
            hash == FlowSetHash(of: sorted)
        else { return nil }
        for (flow, version) in zip(sorted, versions) { self.cursors[flow] = version.map { "\(epoch)-\($0)" } }
    }

    /// Moves one flow.
    mutating func move(_ flow: FlowID, to cursor: String) { self.cursors[flow] = cursor }

    /// The cursor of the only flow; empty if it has none, or if there are several flows.
    var single: String { self.flows.count == 1 ? self.cursors[self.flows[0]] ?? "" : "" }
}

extension WatchPositions: CustomStringConvertible {
    /// The positions as one cursor; empty if no flow has one. A flow whose cursor is of an older epoch counts as one without.
    var description: String {
        guard self.flows.count > 1 else { return self.single }
        let sorted = self.flows.sorted()
        let positions = sorted.map { flow -> (epoch: Epoch, version: Version)? in
            guard case .flow(let epoch, let version)? = self.cursors[flow].map({ Cursor($0) }) else { return nil }
            return (epoch, version)
        }
        guard let epoch = positions.compactMap({ $0?.epoch }).max() else { return "" }
        let versions = positions.map { position in
            position.flatMap { $0.epoch == epoch ? String($0.version, radix: 36) : nil } ?? "~"
        }
        return "\(epoch)-\(FlowSetHash(of: sorted))-\(versions.joined(separator: "."))"
    }
}
