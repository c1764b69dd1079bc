import FlowCore
import FlowHTTP
import FlowObjects
import FlowPostgres

/// How many connections the limit of open files allows, beside the descriptors that the hub needs for itself.
struct ConnectionCapacity: Equatable {
    /// Maximum number of event streams.
    let streams: Int
    /// Maximum number of connections without an event stream, per event loop.
    let ordinaryPerLoop: Int
    /// Whether these are fewer than configured, or fewer streams than ``usualStreams``.
    let isCapped: Bool

    /// Number of event streams below which a hub without `FLOWHUB_MAX_CONNECTIONS` reports that files are scarce.
    static let usualStreams = 10_000
    /// Descriptors for standard streams, the listening socket, the store's files, threads and short-lived files.
    private static let base = 64
    /// Descriptors of an event loop, and of its connections for health checks above the limit.
    private static let perLoop = 16
    /// Share of the room that connections without an event stream keep.
    private static let ordinaryShare = 4
    private static let minimumPerLoop = 4

    /// - Parameters:
    ///   - files: the limit of open files.
    ///   - streams: `FLOWHUB_MAX_CONNECTIONS`; `nil` if it is not set: as many as fit.
    ///   - configuration: the other limits. Its number of event loops must be final.
    init(files: Int, streams wanted: Int?, _ configuration: HubConfiguration) {
        let loops = configuration.http.eventLoops
        var own = Self.base + loops * Self.perLoop
        if let postgres = configuration.postgres {
            own +=
                postgres.changeConnections + postgres.readConnections + postgres.pageConnections + postgres.importConnections
                + postgres.controlConnections
        }
        if configuration.redis != nil { own += 4 }
        if let r2 = configuration.r2 { own += r2.limits.connections + r2.limits.downloads }
        // An import that is stored in a file needs the file and its folders, and a download needs one.
        let usesFiles = configuration.r2 == nil && configuration.postgres == nil
        if usesFiles { own += 4 * configuration.imports.maximumImports }
        let perConnection = usesFiles ? 2 : 1

        let room = max(0, files - own)
        let ordinaryWanted = configuration.http.maximumOrdinaryConnections * loops * perConnection
        let ordinary = min(ordinaryWanted, max(room / Self.ordinaryShare, room - (wanted ?? room)))
        self.streams = max(1, min(wanted ?? room, room - ordinary))
        self.ordinaryPerLoop = max(
            Self.minimumPerLoop, min(configuration.http.maximumOrdinaryConnections, ordinary / (loops * perConnection)))
        self.isCapped =
            self.streams < wanted ?? Self.usualStreams
            || self.ordinaryPerLoop < configuration.http.maximumOrdinaryConnections
    }
}
