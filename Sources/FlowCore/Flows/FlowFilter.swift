/// Which flows of an account are of interest, by id and by status.
public struct FlowFilter: Hashable, Sendable {
    /// Every flow.
    public static let all = FlowFilter()

    /// Ids and prefixes of ids, of which one must match; empty: any id.
    public let patterns: [FlowPattern]
    /// The statuses that a flow may have; empty: any.
    public let statuses: Set<FlowStatus>

    public init(patterns: [FlowPattern] = [], statuses: Set<FlowStatus> = []) {
        self.patterns = patterns.contains(.all) ? [] : patterns
        self.statuses = statuses
    }

    /// Whether a flow with this id may pass.
    public func accepts(_ flow: FlowID) -> Bool { self.patterns.isEmpty || self.patterns.contains { $0.matches(flow) } }
    /// Whether a flow with this status may pass.
    public func accepts(_ status: FlowStatus) -> Bool { self.statuses.isEmpty || self.statuses.contains(status) }

    /// The ids that the patterns match, as ranges in ascending order without overlap; empty: any id.
    public var idRanges: [ClosedRange<String>] { FlowPattern.ranges(of: self.patterns).map { $0.first...$0.last } }
}
