import ArgumentParser
import FlowCore
import FlowPostgres
import Foundation
import Logging

/// The store that a command opens directly, without a hub: that of the environment, or the embedded store in `--data`.
struct StoreLocation: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Directory of the embedded store; overrides DATABASE_URL. (environment: FLOWHUB_DATA; default: ./flowhub-data)",
            valueName: "dir"))
    var data: String?

    static let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .warning, format: .text) }

    /// Opens the store that a hub with this environment would use. Never creates or migrates it.
    /// - Throws: ``CommandFailure`` of kind `usage` for an invalid setting, of kind `rejected` if the store cannot be opened.
    func open() async throws -> HubStore { try await self.open(self.configuration()) }

    /// The configuration of this environment, with `--data` instead of `DATABASE_URL` if it is given, and without
    /// migrations.
    func configuration() throws -> HubConfiguration {
        var configuration = try HubConfiguration.fromEnvironment()
        configuration.migrates = false
        if let data = self.data {
            configuration.dataDirectory = data
            configuration.postgres = nil
        }
        return configuration
    }

    /// Opens the store of a configuration.
    /// - Throws: ``CommandFailure`` of kind `rejected` if the store does not exist or cannot be opened.
    func open(_ configuration: HubConfiguration) async throws -> HubStore {
        let directory = configuration.dataDirectory
        guard configuration.postgres != nil || FileManager.default.fileExists(atPath: directory) else {
            throw CommandFailure(
                .rejected,
                "The embedded store's directory \(directory) does not exist. Pass it with --data, or set DATABASE_URL.")
        }
        do {
            return try await HubStore.open(configuration, logger: Self.logger)
        } catch let error as PostgresError {
            throw CommandFailure(.rejected, "Cannot open the store: \(error.explanation).")
        } catch {
            throw CommandFailure(.rejected, "Cannot open the store: \(error)")
        }
    }
}
