import ArgumentParser
import FlowCore
import FlowHTTP
import FlowPostgres
import Foundation
import Logging
import ServiceLifecycle

/// `flowhub serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the hub.",
        discussion: """
            By default the hub stores flows in ./flowhub-data, listens on http://127.0.0.1:8080 and requires no token: any \
            process on this machine has full access. With DATABASE_URL it stores flows in Postgres, and any number of \
            instances on one database form one hub. All settings are environment variables; `flowhub settings` lists them.

            SIGTERM and SIGINT drain the hub: it closes all streams, spread over FLOWHUB_DRAIN_SECONDS, and then exits with \
            0. A second signal ends it immediately. SIGHUP reloads FLOWHUB_JWKS, \
            FLOWHUB_IMPORT_KEYS and FLOWHUB_R2_CREDENTIALS.

            EXAMPLES
              flowhub serve
              flowhub serve --port 9000 --data /var/lib/flowhub
              DATABASE_URL=postgres://hub@db/hub flowhub serve
              FLOWHUB_JWT_KEY=$(cat key) flowhub serve --host ::

            EXIT CODES: 0 drained after a signal; 1 cannot start or continue; 2 invalid usage or setting.
            """)

    @Option(help: "Address to listen on; :: for all, IPv6 and IPv4. (environment: FLOWHUB_HOST; default: 127.0.0.1)")
    var host: String?

    @Option(help: "Port to listen on; 0: any free port. (environment: PORT; default: 8080)")
    var port: Int?

    @Option(
        help: ArgumentHelp(
            "Directory of the embedded store. (environment: FLOWHUB_DATA; default: ./flowhub-data)", valueName: "dir")
    )
    var data: String?

    func run() async throws {
        do {
            try await self.serve()
        } catch let failure as CommandFailure where Self.logsJSON {
            // Whoever reads the log as JSON must find the reason in it, also if the settings are invalid.
            Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .critical, format: .json) }
                .critical("Hub ended with an error", metadata: ["error": "\(failure.message)"])
            throw ProgramEnded(exitCode: failure.kind.rawValue)
        }
    }

    private func serve() async throws {
        var configuration = try HubConfiguration.fromEnvironment()
        if let host = self.host { configuration.http.host = host }
        if let port = self.port {
            guard (0...65_535).contains(port) else {
                throw CommandFailure(.usage, "--port must be from 0 to 65535, not \(port).")
            }
            configuration.http.port = port
        }
        if let data = self.data { configuration.dataDirectory = data }
        let (files, isCapped) = Self.complete(&configuration)
        try Self.refuseOpenExposure(configuration)

        let writer = LogWriter(format: configuration.logFormat == "json" ? .json : .text, maximum: configuration.logLines)
        defer { writer.flush() }
        let logger = Self.logger(configuration, writer)
        let signals = ServeSignals(logger: logger) { writer.flush(within: .milliseconds(200)) }
        logger.notice("Starting", metadata: HubSummary(configuration: configuration).metadata)
        if isCapped {
            logger.warning(
                "Connections are capped by the limit of open files; raise it (ulimit -n, LimitNOFILE=)",
                metadata: [
                    "files": .stringConvertible(files), "streams": .stringConvertible(configuration.streams.maximumConnections),
                    "ordinary_per_loop": .stringConvertible(configuration.http.maximumOrdinaryConnections),
                ])
        }
        #if DEBUG
        FailpointSetting.arm()
        #endif
        let accessLogger = Self.logger(configuration, writer, isAccessLog: true)
        let hub = try await Self.start(configuration, writer, logger: logger, accessLogger: accessLogger)
        signals.onReload { hub.reloader.reloadNow() }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: hub.server, successTerminationBehavior: .gracefullyShutdownGroup)], logger: logger))
        signals.running { Task { await group.triggerGracefulShutdown() } }
        do {
            try await withThrowingDiscardingTaskGroup { tasks in
                tasks.addTask { await hub.reloader.run() }
                defer { tasks.cancelAll() }
                try await group.run()
            }
        } catch {
            await hub.close()
            throw CommandFailure(.rejected, "The hub stopped after an error: \(Self.explain(error, configuration))")
        }
        await hub.close()
        withExtendedLifetime(signals) {}
        logger.notice("Hub stopped")
    }

    // MARK: Private

    /// Whether `FLOWHUB_LOG_FORMAT` asks for JSON. Read from the environment, because other settings may be invalid.
    private static var logsJSON: Bool { ProcessInfo.processInfo.environment["FLOWHUB_LOG_FORMAT"] == "json" }

    /// Opens the stores and assembles the hub.
    /// - Throws: ``CommandFailure`` with the reason why the hub cannot start.
    private static func start(
        _ configuration: HubConfiguration, _ writer: LogWriter, logger: Logger, accessLogger: Logger
    ) async throws -> Hub {
        do {
            let access = configuration.access
            return try await Hub(
                configuration, logger: logger, accessLogger: accessLogger, droppedLogLines: { writer.droppedLines }
            ) { host, port in
                Self.announce(host: host, port: port, access: access, logger: logger)
            }
        } catch let error as AccessConfigurationError {
            throw CommandFailure(.usage, "Invalid setting \(error)")
        } catch let error as PostgresError {
            throw CommandFailure(.rejected, "The hub cannot start: \(error.explanation). Run `flowhub doctor` for details.")
        } catch {
            throw CommandFailure(.rejected, "The hub cannot start: \(error)")
        }
    }

    /// Sets the values that depend on this machine or are random, unless they are configured: instance name, number of event
    /// loops, limits of connections, which the limit of open files caps. Raises that limit as far as permitted.
    /// - Returns: the limit of open files, and whether it caps the connections below their limits.
    private static func complete(_ configuration: inout HubConfiguration) -> (files: Int, isCapped: Bool) {
        if configuration.instance.isEmpty {
            configuration.instance = "i" + String(UInt64.random(in: .min ... .max), radix: 36)
        }
        if configuration.http.eventLoops == 0 {
            configuration.http.eventLoops = ProcessorCount.allowed()
        }
        configuration.streams.eventLoops = configuration.http.eventLoops
        let files = Int(min(FileLimit.raise(), 1_048_576))
        let isSet = ProcessInfo.processInfo.environment["FLOWHUB_MAX_CONNECTIONS"] != nil
        let capacity = ConnectionCapacity(
            files: files, streams: isSet ? configuration.streams.maximumConnections : nil, configuration)
        configuration.streams.maximumConnections = capacity.streams
        configuration.http.maximumOrdinaryConnections = capacity.ordinaryPerLoop
        return (files, capacity.isCapped)
    }

    /// Rejects a configuration without a token key that listens on other than loopback addresses: without a key every client
    /// has full access, so only clients on this machine may reach the hub.
    /// - Throws: ``CommandFailure`` of kind `usage` if there is no key and the address to listen on is not a loopback address.
    private static func refuseOpenExposure(_ configuration: HubConfiguration) throws {
        guard configuration.access.isOpen, !ListenAddress.isLoopback(configuration.http.host) else { return }
        throw CommandFailure(
            .usage,
            "Refusing to listen on \(configuration.http.host) without a JWT key: every client would have full access. "
                + "Set FLOWHUB_JWT_KEY or FLOWHUB_JWKS, or use --host 127.0.0.1.")
    }

    /// Creates the logger of the hub, with the configured level and format. Each line has the instance name.
    /// - Parameter isAccessLog: whether it is the logger of the access log, which has a setting of its own instead of a level.
    private static func logger(_ configuration: HubConfiguration, _ writer: LogWriter, isAccessLog: Bool = false) -> Logger {
        let level = isAccessLog ? .info : Logger.Level(rawValue: configuration.logLevel) ?? .info
        var logger = Logger(label: "flowhub") { _ in
            LineLogHandler(logLevel: level, format: writer.format, writer: writer, isFrequent: isAccessLog)
        }
        logger[metadataKey: "instance"] = "\(configuration.instance)"
        return logger
    }

    /// Logs the URL on which the hub listens, and who has access if it accepts requests without a token.
    private static func announce(host: String, port: Int, access: AccessConfiguration, logger: Logger) {
        let shown = host.contains(":") ? "[\(host)]" : host
        if access.isOpen {
            logger.notice("No JWT key configured: any process on this machine has full access")
            if access.corsOrigins.contains("*") {
                logger.warning("FLOWHUB_CORS_ORIGINS=* has no effect without a JWT key: list the origins of the web pages")
            }
        }
        logger.notice("Listening", metadata: ["url": "http://\(shown):\(port)/", "version": "\(FlowHub.version)"])
    }

    /// Describes the error that ended the server, with advice if the port is in use or not permitted.
    private static func explain(_ error: any Error, _ configuration: HubConfiguration) -> String {
        let text = "\(error)"
        guard let failure = error as? ListenFailure else { return text }
        let isOperations = failure.port == configuration.http.operationsPort && failure.port != configuration.http.port
        if text.contains("errno: 98") {
            let option = isOperations ? "FLOWHUB_OPS_PORT" : "--port"
            return "Port \(failure.port) is in use. Choose another one with \(option), or stop the process that uses it."
        }
        if text.contains("errno: 13") {
            return "This user may not listen on port \(failure.port). Use a port above 1023."
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
