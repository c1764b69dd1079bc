import FlowCore
import FlowObjects
import Logging

/// Looks whether R2 can be reached and lets the hub in. Reads, and writes nothing.
struct ObjectStoreDiagnostics {
    private static let subject = "imports"

    let settings: R2Settings
    let logger: Logger

    func run() async -> [DoctorFinding] {
        let store: R2ObjectStore
        do {
            store = try R2ObjectStore(self.settings, logger: self.logger, now: SystemClock.now)
        } catch {
            return [DoctorFinding(.failure, Self.subject, "\(error)")]
        }
        let finding = await self.examine(store)
        await store.close()
        return [finding]
    }

    private func examine(_ store: R2ObjectStore) async -> DoctorFinding {
        do throws(ObjectError) {
            _ = try await store.list(prefix: "imports/", after: nil, limit: 1)
            return DoctorFinding(
                .ok, Self.subject, "the bucket \(store.bucket) can be read; /health/storage tells whether it can be written")
        } catch {
            let words = error.explanation
            switch error {
            case .unavailable:
                return DoctorFinding(
                    .failure, Self.subject, "R2 cannot be reached: \(words)",
                    advice: "Look at R2_ACCOUNT_ID or R2_ENDPOINT, and at the way out of this network.")
            default:
                return DoctorFinding(
                    .failure, Self.subject, "R2 does not let the hub in: \(words)",
                    advice: "Look at the key, at R2_BUCKET_NAME, and at the token's permission: Object Read & Write.")
            }
        }
    }

    /// Where imports go without R2.
    static func without(_ configuration: HubConfiguration) -> DoctorFinding {
        if configuration.isR2Enabled, configuration.postgres == nil {
            return DoctorFinding(.ok, Self.subject, "imports lie in \(configuration.dataDirectory)/objects")
        }
        return DoctorFinding(.ok, Self.subject, "imports are rows of the store, in twice their size; R2 would take a fifth")
    }
}
