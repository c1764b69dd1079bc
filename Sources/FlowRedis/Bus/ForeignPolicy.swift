/// Policy for foreign messages: those that a process other than a hub instance publishes, in the legacy service's format.
public enum ForeignPolicy: String, Hashable, Sendable, CaseIterable {
    /// Commits each `state_update` as a change of its flow, and delivers all other foreign messages to live
    /// subscribers.
    case apply
    /// Delivers foreign messages to live subscribers, flagged `foreign`.
    case deliver
    /// Drops all foreign messages.
    case ignore
}
