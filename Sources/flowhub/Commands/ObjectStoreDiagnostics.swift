import FlowCore
import FlowObjects
import Logging

/// Checks whether R2 is reachable and accepts the hub's credentials, and says where new imports are stored. Lists objects and
/// writes nothing.
struct ObjectStoreDiagnostics {
    private static let subject = "imports"

    let settings: R2Settings
    /// Percentage of new imports that are stored in R2.
    let share: Int
    let logger: Logger

    /// Makes the check. The only finding says whether the bucket can be listed, or why not, and which imports are stored there.
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

    /// Lists one object. The finding says whether that succeeded, with advice if not. Without new imports in R2, a failure is only
    /// a warning.
    private func diagnose(_ store: R2ObjectStore) async -> DoctorFinding {
        do throws(ObjectError) {
            _ = try await store.list(prefix: "imports/", after: nil, limit: 1)
            let bucket = "the bucket \(store.bucket) is readable"
            if self.share == 0 {
                return DoctorFinding(
                    .ok, Self.subject,
                    "\(bucket). New imports are stored as database rows (R2_ENABLED=false or FLOWHUB_R2_SHARE=0); imports in the "
                        + "bucket stay readable")
            }
            let share = self.share == 100 ? "" : ". \(self.share) % of new imports are stored in it, the others as database rows"
            return DoctorFinding(
                .ok, Self.subject, "\(bucket); /health/storage reports whether it is writable\(share)")
        } catch {
            let reason = error.description
            let level: DoctorFinding.Level = self.share == 0 ? .warning : .failure
            switch error {
            case .unavailable:
                return DoctorFinding(
                    level, Self.subject, "R2 is unavailable: \(reason)",
                    advice: "Check R2_ACCOUNT_ID or R2_ENDPOINT, and outbound network access.")
            default:
                return DoctorFinding(
                    level, Self.subject, "R2 rejected the hub's request: \(reason)",
                    advice: "Check the access key, R2_BUCKET_NAME, and the token's permission: Object Read & Write.")
            }
        }
    }

    /// The finding for a configuration without R2: where imports are stored.
    static func without(_ configuration: HubConfiguration) -> DoctorFinding {
        if let problem = configuration.unusableR2 {
            return DoctorFinding(
                .warning, Self.subject, "R2_ENABLED is false and the R2 settings cannot be used: \(problem)",
                advice: "Imports in R2 cannot be read. Correct the settings, or unset them if the bucket has no imports.")
        }
        if configuration.imports.objectShare > 0, configuration.postgres == nil {
            let share = configuration.imports.objectShare
            let which = share == 100 ? "imports are" : "\(share) % of new imports are"
            return DoctorFinding(.ok, Self.subject, "\(which) stored in \(configuration.dataDirectory)/objects")
        }
        return DoctorFinding(
            .ok, Self.subject,
            "imports are stored as database rows, which take about 2 times their size; objects in R2 take about 0.2 times")
    }
}
