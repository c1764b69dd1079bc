public import Logging
import Synchronization

/// Counts the foreign messages that are not delivered or applied, by reason. Logs them: the first one of each reason at once, then
/// at most one line per minute and reason, with the flow of the latest one and what to do. Safe to use from any thread.
public final class ForeignMessageMonitor: Sendable {
    /// Why a foreign message is not delivered or applied.
    public enum Reason: String, Sendable, CaseIterable {
        /// The policy is to ignore foreign messages.
        case ignored
        /// The message is not JSON or has no valid `type`, or a `state_update` has no object of updates.
        case malformed
        case tooLarge = "too_large"
        /// The message claims to be a hub's.
        case forged
        /// The `flow_id` in the message is not the flow of the Redis channel.
        case otherFlow = "other_flow"
        /// The name of the Redis channel contains no valid flow id.
        case invalidFlow = "invalid_flow"
        /// The message has a type that only the hub may publish.
        case reservedType = "reserved_type"
        /// The flow does not exist, and no account is configured for messages of such flows.
        case noAccount = "no_account"
        /// The flow belongs to another account than the one that is configured for foreign messages.
        case otherAccount = "other_account"
        /// The flow was deleted.
        case deleted
        /// The flow's watch was not open yet, or this instance had not heard a mark yet.
        case opening
        /// The store rejected the change.
        case rejected
        /// Too many bytes of updates wait to be applied.
        case overloaded
        /// The update waited for the store when another instance began to apply updates, which had not kept it for as long.
        case leaseLost = "lease_lost"
        /// The update still waited for the store when the only instance that heard it ended.
        case ended

        /// What the operator can do; `nil` if nothing is wrong.
        var remedy: String? {
            switch self {
            case .ignored, .opening: nil
            case .malformed:
                "publish a JSON object with a type of 1 to 64 characters A-Za-z0-9_.:- and, for state_update, an object updates"
            case .tooLarge: "publish smaller messages, or raise FLOWHUB_MAX_BUS_MESSAGE_BYTES"
            case .forged: "publish without the members mac, and origin together with epoch, or use one Redis database per hub"
            case .otherFlow: "publish each message on the channel flow:updates:{flow_id} of its own flow_id, or leave flow_id out"
            case .invalidFlow: "use flow ids of 1 to 128 characters A-Za-z0-9_.:-"
            case .reservedType: "publish under another type: PROTOCOL.md lists those that only the hub may use"
            case .noAccount: "set FLOWHUB_SEED_ACCOUNT to the account that receives messages of flows that do not exist"
            case .otherAccount: "publish on flows of the account FLOWHUB_SEED_ACCOUNT, or set it to the account of these flows"
            case .deleted: "stop publishing on the deleted flow, or create it again"
            case .rejected: "see the error; an account's limits are the settings FLOWHUB_MAX_ACCOUNT_…"
            case .leaseLost, .ended: "find out why the store was unavailable, and publish the flow's state again"
            case .overloaded: "find out why the store is slow, or raise FLOWHUB_SEED_RECENT_BYTES"
            }
        }
    }

    private let logger: Logger
    private let numbers = Mutex<[Reason: Int]>([:])
    private let logs: [Reason: LogLimiter]

    public init(logger: Logger) {
        self.logger = logger
        self.logs = Dictionary(uniqueKeysWithValues: Reason.allCases.map { ($0, LogLimiter(interval: .seconds(60))) })
    }

    /// Number of messages that were not delivered or applied, for every reason.
    public var counts: [(reason: String, count: Int)] {
        let numbers = self.numbers.withLock { $0 }
        return Reason.allCases.map { ($0.rawValue, numbers[$0] ?? 0) }
    }

    /// Counts one message, and logs it if no message was logged for this reason within the last minute.
    /// - Parameters:
    ///   - flow: the message's flow, or the name in its place.
    ///   - error: what exactly was wrong, if that is known.
    public func count(_ reason: Reason, flow: String, error: String? = nil) {
        self.numbers.withLock { $0[reason, default: 0] += 1 }
        guard let remedy = reason.remedy, let messages = self.logs[reason]?.add() else { return }
        var metadata: Logger.Metadata = [
            "reason": "\(reason.rawValue)", "flow_id": "\(flow.prefix(FlowID.maximumLength))",
            "messages": .stringConvertible(messages), "remedy": "\(remedy)",
        ]
        if let error { metadata["error"] = "\(error)" }
        self.logger.warning("Foreign message not delivered", metadata: metadata)
    }
}
