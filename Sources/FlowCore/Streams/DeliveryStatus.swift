/// How live events reach subscribers at the moment. Sent in heartbeats; raw values are on the wire and in metric labels.
public enum DeliveryStatus: String, Hashable, Sendable {
    /// The bus delivers.
    case ok
    /// The bus is configured and does not deliver. Events are delivered by the version sweep, every second.
    case degraded
    /// The most recent read or write of the store failed: the store was unavailable, or the outcome of a commit is
    /// unknown. Events are delivered again when the store is available.
    case storeAway = "store_away"
}
