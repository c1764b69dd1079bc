public import FlowCore
import Synchronization

/// The connection registry of a single-process hub.
///
/// Registering and unregistering take constant time. An entry uses about 200 bytes of memory in all, because the flow
/// is stored once and the strings of one connection are shared.
public final class MemoryConnectionRegistry: ConnectionRegistry {
    /// The fields of an entry other than its flow and connection, which are the keys.
    private struct Detail: Sendable {
        var account: String
        var subject: String
        var remote: String
        var registeredAt: Timestamp
    }

    /// The account of a connection, and the number of its entries.
    private struct Owner: Sendable {
        var account: String
        /// Number of flows for which the connection is registered.
        var flows: Int
    }

    private struct State: Sendable {
        var flows: [FlowID: [ConnectionID: Detail]] = [:]
        /// Number of entries of each flow, by account.
        var counts: [FlowID: [String: Int]] = [:]
        var owners: [ConnectionID: Owner] = [:]
        /// The callback that closes a stream.
        var disconnect: (@Sendable (ConnectionID) -> Void)?

        /// Adds an entry, or replaces the one of the same flow and connection.
        mutating func insert(_ entry: ConnectionEntry) {
            let detail = Detail(
                account: entry.account, subject: entry.subject, remote: entry.remote, registeredAt: entry.registeredAt)
            let before = self.flows[entry.flow, default: [:]].updateValue(detail, forKey: entry.connection)
            guard before == nil else { return }
            self.owners[entry.connection, default: Owner(account: entry.account, flows: 0)].flows += 1
            self.counts[entry.flow, default: [:]][entry.account, default: 0] += 1
        }

        /// Removes an entry; an unknown one is ignored.
        mutating func remove(_ entry: ConnectionEntry) {
            guard let detail = self.flows[entry.flow]?.removeValue(forKey: entry.connection) else { return }
            self.counts[entry.flow]?[detail.account, default: 0] -= 1
            if self.counts[entry.flow]?[detail.account] == 0 { self.counts[entry.flow]?[detail.account] = nil }
            if self.counts[entry.flow]?.isEmpty == true { self.counts[entry.flow] = nil }
            if self.flows[entry.flow]?.isEmpty == true { self.flows[entry.flow] = nil }
            self.owners[entry.connection]?.flows -= 1
            if self.owners[entry.connection]?.flows == 0 { self.owners[entry.connection] = nil }
        }
    }

    private let state = Mutex(State())

    public init() {}

    /// Adds the entries of streams.
    public func register(_ entries: [ConnectionEntry]) async {
        self.state.withLock { state in
            for entry in entries { state.insert(entry) }
        }
    }

    /// Removes the entries of streams; unknown ones are ignored.
    public func unregister(_ entries: [ConnectionEntry]) async {
        self.state.withLock { state in
            for entry in entries { state.remove(entry) }
        }
    }

    /// The streams that watch the flow, sorted by instance and number of the connection.
    public func connections(of flow: FlowID) async -> [ConnectionEntry] {
        let details = self.state.withLock { $0.flows[flow] ?? [:] }
        return details.sorted { ($0.key.instance, $0.key.number) < ($1.key.instance, $1.key.number) }.map { connection, detail in
            ConnectionEntry(
                connection: connection, flow: flow, account: detail.account, subject: detail.subject, remote: detail.remote,
                registeredAt: detail.registeredAt)
        }
    }

    /// The number of the account's streams that watch the flow.
    public func count(of flow: FlowID, account: String) -> Int { self.state.withLock { $0.counts[flow]?[account] ?? 0 } }

    /// Calls the callback that closes the stream.
    /// - Parameter account: the account that the stream must belong to; `nil` for any.
    /// - Returns: `false` if the stream is unknown, or does not belong to the account.
    public func disconnect(_ connection: ConnectionID, account: String?) async -> Bool {
        let (isVisible, disconnect) = self.state.withLock { state in
            let owner = state.owners[connection]?.account
            return (owner != nil && (account == nil || account == owner), state.disconnect)
        }
        guard isVisible, let disconnect else { return false }
        disconnect(connection)
        return true
    }

    /// Sets the callback that closes a stream.
    public func onDisconnectRequest(_ disconnect: @escaping @Sendable (ConnectionID) -> Void) {
        self.state.withLock { $0.disconnect = disconnect }
    }
}
