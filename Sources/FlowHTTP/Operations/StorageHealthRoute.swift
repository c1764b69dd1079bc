import FlowCore
import Hummingbird

/// `GET /health/storage`: the health of object store, bus and database, in the format of the legacy service.
struct StorageHealthRoute: Sendable {
    let storage: StorageHealth

    /// Adds the route to the router.
    func add(to router: Router<HubContext>) { router.get("health/storage", use: self.response) }

    /// The health report; 503 if the hub as a whole is unhealthy.
    @Sendable private func response(_ request: Request, _ context: HubContext) async throws -> Response {
        let report = await self.storage.report()
        return .json(
            .object { writer in
                writer.key("timestamp")
                writer.value(report.at.description)
                writer.key("services")
                writer.beginObject()
                for (name, component) in [("r2", report.objects), ("redis", report.bus), ("postgres", report.database)] {
                    writer.key(name)
                    writer.beginObject()
                    writer.key("status")
                    writer.value(component.status.rawValue)
                    writer.key("provider")
                    writer.value(component.provider)
                    if let reason = component.reason {
                        writer.key("error")
                        writer.value(reason)
                    }
                    writer.endObject()
                }
                writer.endObject()
                writer.key("overall")
                writer.value(report.overall.rawValue)
            }, status: report.overall == .unhealthy ? .serviceUnavailable : .ok)
    }
}
