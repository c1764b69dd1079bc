/// What an account stores that is limited. The raw value is a metric label, and part of the code of a rejected request.
public enum AccountResource: String, Hashable, Sendable, CaseIterable {
    /// Flows that exist.
    case flows
    /// Flow ids: of flows that exist, and of deleted ones whose tombstones are kept.
    case ids
    /// Bytes of the states of all flows, with their fences.
    case states
    /// Bytes of all events in histories.
    case history
    /// Revoked subjects.
    case revocations
    /// Imports, failed ones included.
    case imports
}

/// The maximum of each resource that one account may store; 0: no limit. Each is a setting of the hub.
public struct AccountLimits: Hashable, Sendable {
    public var flows = 1_000_000
    public var ids = 4_000_000
    public var stateBytes = 17_179_869_184
    public var historyBytes = 68_719_476_736
    public var revocations = 100_000
    public var imports = 100_000

    public init() {}

    public subscript(_ resource: AccountResource) -> Int {
        switch resource {
        case .flows: self.flows
        case .ids: self.ids
        case .states: self.stateBytes
        case .history: self.historyBytes
        case .revocations: self.revocations
        case .imports: self.imports
        }
    }
}

/// How much of each resource an account stores, or a difference of two such amounts.
public struct AccountUsage: Hashable, Sendable {
    public var flows = 0
    public var ids = 0
    public var stateBytes = 0
    public var historyBytes = 0
    public var revocations = 0
    public var imports = 0

    public init() {}

    public subscript(_ resource: AccountResource) -> Int {
        switch resource {
        case .flows: self.flows
        case .ids: self.ids
        case .states: self.stateBytes
        case .history: self.historyBytes
        case .revocations: self.revocations
        case .imports: self.imports
        }
    }

    public static func + (left: AccountUsage, right: AccountUsage) -> AccountUsage {
        var sum = left
        sum.flows += right.flows
        sum.ids += right.ids
        sum.stateBytes += right.stateBytes
        sum.historyBytes += right.historyBytes
        sum.revocations += right.revocations
        sum.imports += right.imports
        return sum
    }

    /// The difference that a decided change makes.
    /// - Parameters:
    ///   - before: the flow or tombstone before the change; `nil` if there was none.
    ///   - events: the durable events that the change appends.
    package init(from before: FlowRecord?, to after: FlowRecord, events: [FlowEvent]) {
        self.flows = (after.head.isDeleted ? 0 : 1) - (before.map { $0.head.isDeleted ? 0 : 1 } ?? 0)
        self.ids = before == nil ? 1 : 0
        self.stateBytes = after.storedBytes - (before?.storedBytes ?? 0)
        self.historyBytes = events.reduce(0) { $0 + $1.storedBytes }
    }

    /// The first resource that a change increases above its limit; `nil` if there is none.
    func exceeded(by change: AccountUsage, _ limits: AccountLimits) -> AccountResource? {
        AccountResource.allCases.first { resource in
            change[resource] > 0 && limits[resource] > 0 && self[resource] + change[resource] > limits[resource]
        }
    }
}

extension FlowRecord {
    /// The bytes that count for ``AccountResource/states``.
    package var storedBytes: Int { self.state.bytes.count + self.fence.bytes.count }
}

extension FlowEvent {
    /// Bytes that count for an event in addition to its payload, so that empty events are not free.
    package static let overheadBytes = 128
    /// The bytes that count for ``AccountResource/history``.
    package var storedBytes: Int { self.payload.bytes.count + Self.overheadBytes }
}
