/// How live events reach subscribers at the moment. Sent in heartbeats; raw values are on the wire and in metric labels.
public enum DeliveryStatus: String, Hashable, Sendable {
    /// The bus delivers.
    case ok
    /// A bus between the instances is configured and does not deliver. The version sweep delivers durable events, every
    /// second.
    case degraded
    /// The most recent read or write of the store failed: the store was unavailable, or the outcome of a commit is
    /// unknown. Subscribers may lack durable events until the store is available again.
    case storeAway = "store_away"
}
