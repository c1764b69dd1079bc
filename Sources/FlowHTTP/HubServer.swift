import FlowCore
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle

#if canImport(Glibc)
import Glibc
#endif

/// The HTTP server of the hub: one port for event streams and ordinary requests, and optionally one for operations (metrics
/// and health).
///
/// ``run()`` serves until the service group shuts down. It then closes the streams spread over the drain window, answers the
/// requests that were received, and returns.
public final class HubServer: Service {
    private let instance: String
    private let version: String
    let http: HTTPConfiguration
    private let streams: StreamConfiguration
    let dependencies: Dependencies
    let logger: Logger
    private let accessLogger: Logger
    private let missingProxyHeaders = LogLimiter()
    private let onListening: @Sendable (_ host: String, _ port: Int) -> Void

    /// - Parameters:
    ///   - instance: this process's name in the connection registry, unique among the live instances.
    ///   - version: the hub's version, which `/health/ready` reports.
    ///   - accessLogger: logs requests, if they are to be logged.
    ///   - onListening: called when the port is open, with the bound address.
    public init(
        instance: String, version: String, http: HTTPConfiguration, streams: StreamConfiguration, dependencies: Dependencies,
        logger: Logger, accessLogger: Logger, onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) {
        self.instance = instance
        self.version = version
        self.http = http
        self.streams = streams
        self.dependencies = dependencies
        self.logger = logger
        self.accessLogger = accessLogger
        self.onListening = onListening
    }

    /// Opens the port and serves until the service group shuts down gracefully, then drains.
    /// - Throws: the error of opening the port, or of a background task.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: self.http.eventLoops)
        do { try await self.serve(on: group) } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    private func serve(on group: MultiThreadedEventLoopGroup) async throws {
        let (work, workContinuation) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        let (registryChanges, registryChangeContinuation) = AsyncStream.makeStream(of: [RegistryChange].self)
        let (feedChanges, feedMembershipContinuation) = AsyncStream.makeStream(of: FeedMembershipChange.self)
        let services = StreamServices(
            instance: self.instance, configuration: self.streams, manager: self.dependencies.manager,
            table: self.dependencies.table, registry: self.dependencies.registry, health: self.dependencies.health,
            leewaySeconds: self.dependencies.verifier.leewaySeconds, now: self.dependencies.now, logger: self.logger,
            work: workContinuation, registryChangeContinuation: registryChangeContinuation,
            feedMembershipContinuation: feedMembershipContinuation)
        let loops = EventLoopContextSet()
        let budgets = ConnectionBudgets(self.http)
        let (application, operations) = self.applications(services: services, loops: loops, budgets: budgets)
        try await self.prepare(group, loops, services, application, operations, budgets)
        self.observe(loops)

        try await withThrowingDiscardingTaskGroup { tasks in
            tasks.addTask { try await self.dependencies.backgroundTasks.run() }
            tasks.addTask { await Self.run(work) }
            tasks.addTask { await self.dependencies.imports.run() }
            tasks.addTask { await self.applyRegistryChanges(registryChanges) }
            tasks.addTask {
                await FeedPoller(manager: self.dependencies.manager, loops: loops, now: self.dependencies.now).run(
                    changes: feedChanges)
            }
            let operationsListener = try await self.bindOperations(group, loops, budgets)
            if await self.loadRevocations() {
                let listener = try await self.bind(
                    group, loops, budgets, host: self.http.host, port: self.http.port, isOperations: false)
                self.onListening(
                    listener.localAddress?.ipAddress ?? self.http.host, listener.localAddress?.port ?? self.http.port)
                try? await gracefulShutdown()
                await self.drain(listener, operationsListener, loops, services)
            }
            tasks.cancelAll()
            workContinuation.finish()
            registryChangeContinuation.finish()
            feedMembershipContinuation.finish()
        }
    }

    /// Reads the revocations before the port is opened, so that no revoked token is ever accepted. Waits for the store if it
    /// is unavailable.
    /// - Returns: `false` if the hub is shut down before the revocations were read.
    private func loadRevocations() async -> Bool {
        if self.dependencies.verifier.isOpen { return true }
        while !(await self.dependencies.backgroundTasks.revocations.refresh()) {
            try? await Task.sleep(for: .seconds(1))
            if Task.isCancelled || Task.isShuttingDownGracefully { return false }
        }
        return true
    }

    // MARK: Composition

    /// Creates the routers with all routes, and the applications that answer ordinary requests with them.
    private func applications(services: StreamServices, loops: EventLoopContextSet, budgets: ConnectionBudgets)
        -> (public: HTTPApplication, operations: HTTPApplication)
    {
        let backgroundTasks = self.dependencies.backgroundTasks
        let cors = self.dependencies.cors
        let access = AccessControl(
            verifier: self.dependencies.verifier, cors: cors, proxies: self.dependencies.proxies,
            pages: self.dependencies.verifier.isOpen ? KeylessAccess(cors: cors, checksHost: true) : nil,
            isRevoked: { backgroundTasks.revocations.isRevoked($0) }, now: self.dependencies.now)
        // No token protects the operations port, with or without keys, so no web page may read it.
        var operationsAccess = access
        operationsAccess.cors = .none
        operationsAccess.pages = KeylessAccess(
            cors: .none, checksHost: ListenAddress.isLoopback(self.http.operationsHost))
        let limitCounters = LimitCounters()
        let router = Router(context: HubContext.self, options: .autoGenerateHeadEndpoints)
        let operationsRouter = Router(context: HubContext.self, options: .autoGenerateHeadEndpoints)
        let routes = OperationsRoutes(
            services: services, counters: self.dependencies.counters, imports: self.dependencies.imports,
            patterns: self.dependencies.patterns, limitCounters: limitCounters, bus: self.dependencies.bus,
            clock: self.dependencies.clock, backgroundTasks: backgroundTasks, loops: loops, budgets: budgets,
            version: self.version, droppedLogLines: self.dependencies.droppedLogLines
        )
        routes.addHealth(to: router)
        routes.addPage(to: router)
        routes.addHealth(to: operationsRouter)
        routes.addMetrics(to: operationsRouter)
        StorageHealthRoute(storage: self.dependencies.storage, namesCauses: true, logger: self.logger).add(to: operationsRouter)
        if self.http.operationsPort == nil {
            routes.addMetrics(to: router)
            StorageHealthRoute(storage: self.dependencies.storage, namesCauses: false, logger: self.logger).add(to: router)
        }
        let group = router.group("v1").add(middleware: AccessMiddleware(access: access))
        FlowRoutes(
            manager: self.dependencies.manager, table: self.dependencies.table, configuration: self.http,
            now: self.dependencies.now
        ).add(to: group)
        PublishRoute(
            manager: self.dependencies.manager, table: self.dependencies.table, configuration: self.http,
            now: self.dependencies.now
        ).add(to: group)
        CoordinationRoutes(
            manager: self.dependencies.manager, registry: self.dependencies.registry, revocations: self.dependencies.revocations,
            locks: self.dependencies.locks, limitCounters: limitCounters,
            leewaySeconds: self.dependencies.verifier.leewaySeconds,
            revoked: { [bus = self.dependencies.bus] revocation in
                backgroundTasks.revocations.add(revocation)
                bus.notifyPeers(.revocations)
            }, now: self.dependencies.now
        ).add(to: group)
        MappingPatternRoutes(
            patterns: self.dependencies.patterns, configuration: self.http, limitCounters: limitCounters
        ).add(to: group)
        SessionRoutes(access: access, now: self.dependencies.now).add(to: group, and: router)
        ImportRoutes(access: access, imports: self.dependencies.imports, patterns: self.dependencies.patterns).add(to: group)
        return (
            HTTPApplication(access: access, router: router, streams: RouteTable.streams, logger: self.logger),
            HTTPApplication(access: operationsAccess, router: operationsRouter, streams: [], logger: self.logger)
        )
    }

    /// Creates the shard (streams and fan-outs) and the context of every event loop. Registers the shard with the watch
    /// table, and starts the timer that calls ``EventLoopContext/tick()`` every second.
    private func prepare(
        _ group: MultiThreadedEventLoopGroup, _ loops: EventLoopContextSet, _ services: StreamServices,
        _ application: HTTPApplication, _ operations: HTTPApplication, _ budgets: ConnectionBudgets
    ) async throws {
        let configuration = self.http
        let accessLog = AccessLog(configuration.accessLog, logger: self.accessLogger)
        let eventLoops = Array(group.makeIterator())
        let mailboxes = eventLoops.map { ShardMailbox(loop: $0) }
        self.dependencies.table.attach(mailboxes)
        for (sink, (loop, mailbox)) in zip(eventLoops, mailboxes).enumerated() {
            let context = try await loop.submit {
                let shard = StreamShard(loop: loop, services: services, sinkIndex: sink)
                let context = EventLoopContext(
                    loop: loop, shard: shard, application: application, operations: operations, configuration: configuration,
                    budgets: budgets, accessLog: accessLog)
                let bound = NIOLoopBound(context, eventLoop: loop)
                mailbox.connect(to: NIOLoopBound(shard, eventLoop: loop))
                loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in bound.value.tick() }
                return bound
            }.get()
            loops.insert(context)
        }
    }

    /// Sets the callbacks that send a change of the delivery status to all streams, and that close a stream on request of
    /// `DELETE /v1/connections/{id}`.
    private func observe(_ loops: EventLoopContextSet) {
        let table = self.dependencies.table
        self.dependencies.health.observe { table.broadcast(.status($0)) }
        self.dependencies.registry.onDisconnectRequest { connection in
            loops.forEachLoop { $0.shard.disconnect(connection.number) }
        }
    }

    /// Opens the port of the operations listener, if it is configured, and logs its URL.
    /// - Returns: the listening NIO channel; `nil` without an operations listener.
    private func bindOperations(
        _ group: MultiThreadedEventLoopGroup, _ loops: EventLoopContextSet, _ budgets: ConnectionBudgets
    ) async throws
        -> (any Channel)?
    {
        guard let port = self.http.operationsPort else { return nil }
        let host = self.http.operationsHost
        let listener = try await self.bind(group, loops, budgets, host: host, port: port, isOperations: true)
        let shown = host.contains(":") ? "[\(host)]" : host
        self.logger.notice(
            "Serving metrics and health", metadata: ["url": "http://\(shown):\(listener.localAddress?.port ?? port)/"])
        return listener
    }

    /// Opens a port. Every accepted connection is served by one event loop.
    /// - Returns: the listening NIO channel.
    /// - Throws: ``ListenFailure``
    private func bind(
        _ group: MultiThreadedEventLoopGroup, _ loops: EventLoopContextSet, _ budgets: ConnectionBudgets, host: String,
        port: Int, isOperations: Bool
    ) async throws -> any Channel {
        let configuration = self.http
        let logger = self.logger
        let perSubscriber = self.streams.maximumQueuedBytesPerSubscriber
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4_096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .detectingVanishedClients()
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptErrorHandler(loops: loops, budgets: budgets, logger: logger)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 1, high: perSubscriber))
            .childChannelOption(.maxMessagesPerRead, value: ReceiveBuffers.messagesPerRead)
            .childChannelOption(.recvAllocator, value: ReceiveBuffers())
            .childChannelInitializer { channel in
                guard let context = loops.context(of: channel.eventLoop) else { return channel.close() }
                return channel.eventLoop.makeCompletedFuture {
                    try self.addHandlers(to: channel, context.value, configuration, isOperations: isOperations)
                }
            }
        do {
            // NIO sets IPV6_V6ONLY to 0, so a listener on :: accepts IPv4 too, whatever the machine's default.
            return try await bootstrap.bind(host: host, port: port).get()
        } catch let error as IOError where host == ListenAddress.any && error.errnoCode == EAFNOSUPPORT {
            self.logger.notice("This machine has no IPv6; listening on 0.0.0.0")
            return try await self.bind(group, loops, budgets, host: "0.0.0.0", port: port, isOperations: isOperations)
        } catch {
            throw ListenFailure(host: host, port: port, reason: "\(error)")
        }
    }

    /// Adds the HTTP handlers to an accepted connection. Closes the connection instead if its event loop already has the
    /// maximum number of connections without an event stream, and none of them is idle. The operations listener accepts
    /// connections beyond it, so that metrics can be read while the limit is reached.
    private func addHandlers(
        to channel: any Channel, _ context: EventLoopContext, _ configuration: HTTPConfiguration, isOperations: Bool
    ) throws {
        guard let admission = isOperations ? .anyRequest : context.admit() else {
            channel.close(promise: nil)
            return
        }
        let headLimiter = RequestHeadLimiter(limit: configuration.maximumHeaderBytes + configuration.maximumURIBytes + 4_096)
        let decoder = RequestDecoder.make(configuration)
        let peer = Self.peer(of: channel)
        let isTrusted = self.dependencies.proxies.trusts(peer)
        let usesProxyProtocol = self.dependencies.proxies.statement == .proxyProtocol
        let handler = ConnectionHandler(
            loop: context, headLimiter: headLimiter, decoder: decoder, peer: peer, isOperations: isOperations,
            isFromTrustedProxy: isTrusted && !usesProxyProtocol, isBehindTrustedProxy: isTrusted,
            isReserve: admission == .reserve)
        let pipeline = channel.pipeline.syncOperations
        if !isOperations, isTrusted, usesProxyProtocol {
            try pipeline.addHandler(self.proxyProtocolReader(for: handler))
        }
        try pipeline.addHandler(headLimiter)
        try pipeline.addHandler(decoder)
        try pipeline.addHandler(handler)
    }

    /// The IP address of the other end. A listener for IPv6 and IPv4 reports IPv4 addresses as IPv4-mapped; returns these as IPv4.
    private static func peer(of channel: any Channel) -> String {
        guard let text = channel.remoteAddress?.ipAddress else { return "unknown" }
        return text.hasPrefix("::ffff:") ? IPAddress(text)?.text ?? text : text
    }

    /// The handler that reads the header of the PROXY protocol and passes the client's address to the connection.
    private func proxyProtocolReader(for handler: ConnectionHandler) -> ProxyProtocolReader {
        let proxy = handler.peer
        return ProxyProtocolReader { client, isSecure in
            if let client { handler.peer = client.text }
            handler.usesTLSAtProxy = isSecure
        } onInvalid: { [logger = self.logger, missing = self.missingProxyHeaders] in
            if let count = missing.add() {
                logger.warning(
                    "Closed a connection of a trusted proxy that does not begin with a PROXY protocol header, version 2",
                    metadata: ["proxy": "\(proxy)", "connections": "\(count)"])
            }
        }
    }

    // MARK: Running

    /// Runs each operation of ``StreamServices/perform(_:)`` in a task of its own, until the sequence ends.
    private static func run(_ work: AsyncStream<@Sendable () async -> Void>) async {
        await withDiscardingTaskGroup { group in
            for await item in work { group.addTask { await item() } }
        }
    }

    /// Applies changes to the connection registry one after the other, so that a stream is registered before it is
    /// unregistered.
    private func applyRegistryChanges(_ changes: AsyncStream<[RegistryChange]>) async {
        for await batch in changes {
            for change in batch {
                switch change {
                case .register(let entries): await self.dependencies.registry.register(entries)
                case .unregister(let entries): await self.dependencies.registry.unregister(entries)
                }
            }
        }
    }
}

extension ServerBootstrap {
    /// Lets the kernel probe silent connections, whose sockets inherit the options of the listening one. A vanished client is
    /// detected after 15 + 3 × 5 s; a client that reads slowly still answers the probes.
    fileprivate func detectingVanishedClients() -> ServerBootstrap {
        let probing = self.serverChannelOption(.socketOption(.so_keepalive), value: 1)
        #if os(Linux)
        return
            probing
            .serverChannelOption(.tcpOption(.keepIdle), value: 15)
            .serverChannelOption(.tcpOption(.keepInterval), value: 5)
            .serverChannelOption(.tcpOption(.keepCount), value: 3)
        #else
        return probing
        #endif
    }
}

#if os(Linux)
extension NIOBSDSocket.Option {
    // Values from Linux's tcp(7): NIO does not define these options.
    fileprivate static let keepIdle = NIOBSDSocket.Option(rawValue: 4)
    fileprivate static let keepInterval = NIOBSDSocket.Option(rawValue: 5)
    fileprivate static let keepCount = NIOBSDSocket.Option(rawValue: 6)
}
#endif
