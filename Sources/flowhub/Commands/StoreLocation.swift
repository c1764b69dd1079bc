import ArgumentParser
import FlowCore
import FlowPostgres
import Foundation
import Logging

/// Which store a command opens by itself, without a hub.
struct StoreLocation: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Folder of the embedded store. (environment: FLOWHUB_DATA; default: ./flowhub-data)", valueName: "dir"))
    var data: String?

    static let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .warning, format: .text) }

    /// The store that a hub with this environment would use. It is never made or migrated here.
    func open() async throws -> HubStore { try await self.open(self.configuration()) }

    func configuration() throws -> HubConfiguration {
        var configuration = try HubConfiguration.fromEnvironment()
        configuration.migrates = false
        if let data = self.data {
            configuration.dataDirectory = data
            configuration.postgres = nil
        }
        return configuration
    }

    func open(_ configuration: HubConfiguration) async throws -> HubStore {
        let directory = configuration.dataDirectory
        guard configuration.postgres != nil || FileManager.default.fileExists(atPath: directory) else {
            throw CommandFailure(
                .refused, "There is no store in \(directory). Name its folder with --data, or set DATABASE_URL.")
        }
        do {
            return try await HubStore.open(configuration, logger: Self.logger)
        } catch let error as PostgresError {
            throw CommandFailure(.refused, "The store cannot be opened: \(error.explanation).")
        } catch {
            throw CommandFailure(.refused, "The store cannot be opened. \(error)")
        }
    }
}
