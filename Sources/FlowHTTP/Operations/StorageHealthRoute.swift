import FlowCore
import Hummingbird
import Logging
import Synchronization

/// `GET /health/storage`: the health of object store, bus and database, in the format of the legacy service.
///
/// The cause of a failure may name the bucket, the account, hosts and users.
final class StorageHealthRoute: Sendable {
    private let storage: StorageHealth
    /// Whether the response has the causes of failures: only on the operations listener.
    private let namesCauses: Bool
    private let logger: Logger
    /// The time of the last report whose causes were logged instead.
    private let lastLogged = Mutex<Timestamp?>(nil)

    init(storage: StorageHealth, namesCauses: Bool, logger: Logger) {
        self.storage = storage
        self.namesCauses = namesCauses
        self.logger = logger
    }

    /// Adds the route to the router.
    func add(to router: Router<HubContext>) { router.get("health/storage", use: self.response) }

    /// The health report; 503 if the hub as a whole is unhealthy.
    @Sendable private func response(_ request: Request, _ context: HubContext) async throws -> Response {
        let report = await self.storage.report()
        if !self.namesCauses { self.log(report) }
        return .json(
            .object { writer in
                writer.key("timestamp")
                writer.value(report.at.description)
                writer.key("services")
                writer.beginObject()
                for (name, component) in Self.components(of: report) {
                    writer.key(name)
                    writer.beginObject()
                    writer.key("status")
                    writer.value(component.status.rawValue)
                    writer.key("provider")
                    writer.value(component.provider)
                    if let share = component.share {
                        writer.key("share")
                        writer.value(share)
                    }
                    if let reason = component.reason {
                        writer.key("error")
                        writer.value(self.namesCauses ? reason : "the probe failed; the hub's log has the cause")
                    }
                    writer.endObject()
                }
                writer.endObject()
                writer.key("overall")
                writer.value(report.overall.rawValue)
            }, status: report.overall == .unhealthy ? .serviceUnavailable : .ok)
    }

    /// The components with their names in the response.
    private static func components(of report: StorageHealth.Report) -> [(String, StorageHealth.Component)] {
        [("r2", report.objects), ("redis", report.bus), ("postgres", report.database)]
    }

    /// Logs the causes of failures, once for each report.
    private func log(_ report: StorageHealth.Report) {
        guard
            self.lastLogged.withLock({ last in
                defer { last = report.at }
                return last != report.at
            })
        else { return }
        for (name, component) in Self.components(of: report) {
            guard let reason = component.reason else { continue }
            self.logger.warning("Storage probe failed", metadata: ["component": "\(name)", "error": "\(reason)"])
        }
    }
}
