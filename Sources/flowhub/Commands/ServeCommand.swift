import ArgumentParser
import FlowCore
import FlowHTTP
import FlowPostgres
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

/// `flowhub serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the hub.",
        discussion: """
            With nothing configured the hub keeps its flows in ./flowhub-data, listens on http://127.0.0.1:8080 and serves \
            everybody on this machine. With DATABASE_URL they are in Postgres, and any number of hubs on one database are one. \
            Settings come from the environment: `flowhub settings` lists them.

            SIGTERM and SIGINT end it: every stream is closed at a moment of its own within FLOWHUB_DRAIN_SECONDS, then the \
            process exits with 0. A second signal ends it at once.

            EXAMPLES
              flowhub serve
              flowhub serve --port 9000 --data /var/lib/flowhub
              DATABASE_URL=postgres://hub@db/hub flowhub serve
              FLOWHUB_JWT_KEY=$(cat key) flowhub serve --host 0.0.0.0

            EXIT CODES: 0 ended by a signal; 1 could not start or go on; 2 wrong usage or setting.
            """)

    @Option(help: "Address to listen on. (environment: FLOWHUB_HOST; default: 127.0.0.1)")
    var host: String?

    @Option(help: "Port to listen on; 0 takes a free one. (environment: PORT; default: 8080)")
    var port: Int?

    @Option(
        help: ArgumentHelp("Folder of the embedded store. (environment: FLOWHUB_DATA; default: ./flowhub-data)", valueName: "dir")
    )
    var data: String?

    func run() async throws {
        var configuration = try HubConfiguration.fromEnvironment()
        if let host = self.host { configuration.http.host = host }
        if let port = self.port {
            guard (0...65_535).contains(port) else { throw CommandFailure(.usage, "--port is a number from 0 to 65535.") }
            configuration.http.port = port
        }
        if let data = self.data { configuration.dataDirectory = data }
        Self.complete(&configuration)
        try Self.refuseOpenExposure(configuration)

        let logger = Self.logger(configuration)
        #if DEBUG
        FaultInjection.plant()
        #endif
        let hub: Hub
        do {
            let isOpen = configuration.access.isOpen
            hub = try await Hub(configuration, logger: logger) { host, port in
                Self.announce(host: host, port: port, isOpen: isOpen, logger: logger)
            }
        } catch let error as AccessConfigurationError {
            throw CommandFailure(.usage, "\(error)")
        } catch let error as PostgresError {
            throw CommandFailure(.refused, "The hub cannot start: \(error.explanation). `flowhub doctor` says more.")
        } catch {
            throw CommandFailure(.refused, "The hub cannot start. \(error)")
        }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: hub.server, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        do {
            try await group.run()
        } catch {
            await hub.close()
            throw CommandFailure(.refused, "The hub cannot go on. \(Self.explain(error, configuration))")
        }
        await hub.close()
        logger.notice("Stopped")
    }

    // MARK: Private

    /// Fills in what depends on the machine.
    private static func complete(_ configuration: inout HubConfiguration) {
        if configuration.instance.isEmpty {
            configuration.instance = "i" + String(UInt64.random(in: .min ... .max), radix: 36)
        }
        if configuration.http.eventLoops == 0 {
            configuration.http.eventLoops = ProcessorCount.allowed()
        }
        let files = Int(min(FileLimit.raise(), 1_048_576))
        if ProcessInfo.processInfo.environment["FLOWHUB_MAX_CONNECTIONS"] == nil {
            configuration.streams.maximumConnections = max(10_000, files - 2_048)
        }
    }

    /// Without a key the hub serves everybody, so it must not be reachable for everybody.
    private static func refuseOpenExposure(_ configuration: HubConfiguration) throws {
        guard configuration.access.isOpen, !Loopback.contains(configuration.http.host) else { return }
        throw CommandFailure(
            .usage,
            "Without a key everybody who reaches the hub may read and change everything, so it listens on a loopback address only, "
                + "not on \(configuration.http.host). Set FLOWHUB_JWT_KEY or FLOWHUB_JWKS, or use --host 127.0.0.1.")
    }

    private static func logger(_ configuration: HubConfiguration) -> Logger {
        let format: LineLogHandler.Format = configuration.logFormat == "json" ? .json : .text
        let level = Logger.Level(rawValue: configuration.logLevel) ?? .info
        var logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: level, format: format) }
        logger[metadataKey: "instance"] = "\(configuration.instance)"
        return logger
    }

    private static func announce(host: String, port: Int, isOpen: Bool, logger: Logger) {
        let shown = host.contains(":") ? "[\(host)]" : host
        if isOpen {
            logger.notice("No key is configured: everybody on this machine may read and change everything")
        }
        logger.notice("Listening", metadata: ["url": "http://\(shown):\(port)/"])
    }

    private static func explain(_ error: any Error, _ configuration: HubConfiguration) -> String {
        let text = "\(error)"
        if text.contains("errno: 98") {
            return "Port \(configuration.http.port) is taken. Use --port, or end what listens there."
        }
        if text.contains("errno: 13") {
            return "Port \(configuration.http.port) needs rights that this user does not have. Use a port above 1023."
        }
        return text
    }
}

/// `flowhub settings`
struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "List every setting with its default and meaning, as Markdown.")

    func run() { print(Setting.markdown, terminator: "") }
}

enum Loopback {
    /// Whether a host to listen on is reachable from this machine only.
    static func contains(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || (host.hasPrefix("127.") && host.split(separator: ".").count == 4)
    }
}
