/// Addresses to listen on, as in the settings `FLOWHUB_HOST` and `FLOWHUB_OPS_HOST`.
public enum ListenAddress {
    /// All addresses of the machine, IPv6 and IPv4.
    static let any = "::"

    /// Whether a server that listens on this address is reachable from this machine only: `localhost`, an address in 127.0.0.0/8,
    /// also IPv4-mapped (`::ffff:127.0.0.1`), or `::1`.
    public static func isLoopback(_ host: String) -> Bool {
        host.lowercased() == "localhost" || IPAddress(host)?.isLoopback == true
    }
}
