import FlowCore
import FlowObjects
import Logging

/// Checks whether R2 is reachable and accepts the hub's credentials. Lists objects and writes nothing.
struct ObjectStoreDiagnostics {
    private static let subject = "imports"

    let settings: R2Settings
    let logger: Logger

    /// Makes the check. The only finding says whether the bucket can be listed, or why not.
    func run() async -> [DoctorFinding] {
        let store: R2ObjectStore
        do {
            store = try R2ObjectStore(self.settings, logger: self.logger, now: SystemClock.now)
        } catch {
            return [DoctorFinding(.failure, Self.subject, "the R2 settings cannot be used: \(error)")]
        }
        let finding = await self.diagnose(store)
        await store.close()
        return [finding]
    }

    /// Lists one object. The finding says whether that succeeded, with advice if not.
    private func diagnose(_ store: R2ObjectStore) async -> DoctorFinding {
        do throws(ObjectError) {
            _ = try await store.list(prefix: "imports/", after: nil, limit: 1)
            return DoctorFinding(
                .ok, Self.subject, "the bucket \(store.bucket) is readable; /health/storage reports whether it is writable")
        } catch {
            let reason = error.description
            switch error {
            case .unavailable:
                return DoctorFinding(
                    .failure, Self.subject, "R2 is unavailable: \(reason)",
                    advice: "Check R2_ACCOUNT_ID or R2_ENDPOINT, and outbound network access.")
            default:
                return DoctorFinding(
                    .failure, Self.subject, "R2 rejected the hub's request: \(reason)",
                    advice: "Check the access key, R2_BUCKET_NAME, and the token's permission: Object Read & Write.")
            }
        }
    }

    /// The finding for a configuration without R2: where imports are stored.
    static func without(_ configuration: HubConfiguration) -> DoctorFinding {
        if configuration.isR2Enabled, configuration.postgres == nil {
            return DoctorFinding(.ok, Self.subject, "imports are stored in \(configuration.dataDirectory)/objects")
        }
        return DoctorFinding(
            .ok, Self.subject,
            "imports are stored as database rows, which take about 2 times their size; objects in R2 take about 0.2 times")
    }
}
