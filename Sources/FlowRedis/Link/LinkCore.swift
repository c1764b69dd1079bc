import DequeModule
import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// State of a ``RedisLink``. Confined to its event loop.
final class LinkCore {
    /// Commands that were sent together, until all of their replies have arrived.
    private struct Pending {
        /// Number of replies that have not arrived yet.
        var missing: Int
        /// Approximate size of the commands on the wire, in bytes.
        let bytes: Int
        var replies: [RESPValue] = []
        /// When the connection is closed if replies are still missing.
        let deadline: NIODeadline
        let completion: RedisLink.Completion
    }

    private let settings: RedisSettings
    private let name: String
    private let hub: String?
    private let isSubscriber: Bool
    private let tls: NIOSSLContext?
    private let loop: any EventLoop
    private let logger: Logger
    private let counter: CommandCounter

    private var events = RedisLink.Events()
    private var machine = LinkStateMachine()
    private var channel: (any Channel)?
    /// Number of the latest connection attempt. Events of earlier connections are ignored.
    private var generation = 0
    private var pending: Deque<Pending> = []
    /// Number of commands whose replies have not arrived yet.
    private var pendingCommands = 0
    /// Commands that were sent in this turn of the event loop and are not written to the socket yet.
    private var outgoing = ByteBuffer()
    /// Closes the connection when the replies to the oldest pending commands are overdue; see ``armReplyTimer()``.
    private var replyTimer: Scheduled<Void>?
    /// Whether the current outage was logged. An outage is logged once, until a connection is stable again.
    private var hasLoggedOutage = false
    /// Whether it was logged that the outage is due to another hub.
    private var hasLoggedOtherHub = false
    /// Approximate bytes of the commands whose replies have not all arrived.
    private var pendingBytes = 0
    /// When ``RedisLink/Events/scriptMissing`` was last called.
    private var lastScriptReload = NIODeadline.uptimeNanoseconds(0)
    /// When an error reply that recurs with every command was last logged.
    private var lastErrorReplyLog = NIODeadline.uptimeNanoseconds(0)

    /// How long a connection must be ready to count as stable.
    private static let stabilityPeriod = TimeAmount.seconds(1)

    init(
        _ settings: RedisSettings, name: String, hub: String?, isSubscriber: Bool, tls: NIOSSLContext?, loop: any EventLoop,
        logger: Logger, counter: CommandCounter
    ) {
        self.settings = settings
        self.name = name
        self.hub = hub
        self.isSubscriber = isSubscriber
        self.tls = tls
        self.loop = loop
        self.logger = logger
        self.counter = counter
    }

    // MARK: Life cycle

    /// Starts the first attempt to connect.
    func start(_ events: RedisLink.Events) {
        self.events = events
        self.perform(self.machine.start())
    }

    /// Fails the pending commands, closes the connection, and does not reconnect.
    /// - Parameter done: succeeds once the connection is closed.
    func stop(_ done: EventLoopPromise<Void>) {
        self.replyTimer?.cancel()
        let channel = self.channel
        self.perform(self.machine.stop())
        self.fail(.notConnected)
        if let channel { channel.closeFuture.cascade(to: done) } else { done.succeed() }
    }

    /// Performs an action of the state machine.
    private func perform(_ action: LinkStateMachine.Action) {
        switch action {
        case .nothing: break
        case .connect: self.connect()
        case .wait(let milliseconds):
            self.loop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) {
                self.perform(self.machine.backoffElapsed())
            }
        case .handshake: self.startHandshake()
        case .ready:
            let generation = self.generation
            self.loop.assumeIsolated().scheduleTask(in: Self.stabilityPeriod) {
                guard generation == self.generation, self.machine.isReady else { return }
                self.machine.provedStable()
                if self.hasLoggedOutage { self.logger.notice("Reconnected to Redis", metadata: ["link": "\(self.name)"]) }
                self.hasLoggedOutage = false
                self.hasLoggedOtherHub = false
            }
            self.events.ready()
        case .close:
            self.channel?.close(promise: nil)
            self.channel = nil
        }
    }

    /// Starts an attempt to connect, and reports its result to the state machine.
    private func connect() {
        self.generation += 1
        let generation = self.generation
        let core = NIOLoopBound(self, eventLoop: self.loop)
        let (tls, settings) = (self.tls, self.settings)
        ClientBootstrap(group: self.loop)
            .connectTimeout(.milliseconds(Int64(settings.connectMilliseconds)))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            // Without TCP_USER_TIMEOUT, a connection that drops packets silently is detected only after about 15
            // minutes (tcp_retries2).
            .channelOption(Self.userTimeout, value: .init(settings.commandMilliseconds))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        // Server Name Indication is for host names only, not for IP addresses (RFC 6066, section 3).
                        let name = Self.isAddress(settings.host) ? nil : settings.host
                        try pipeline.addHandler(try NIOSSLClientHandler(context: tls, serverHostname: name))
                    }
                    try pipeline.addHandler(
                        LinkHandler(maximumReply: settings.maximumReplyBytes) { event in
                            core.value.received(event, generation: generation)
                        })
                }
            }
            .connect(host: settings.host, port: settings.port)
            .assumeIsolated()
            .whenComplete { result in
                guard generation == self.generation else { return }
                switch result {
                case .success(let channel):
                    self.channel = channel
                    self.perform(self.machine.connected())
                    // If the link was stopped while it was connecting, `perform` has set the channel to `nil`.
                    if self.channel == nil { channel.close(promise: nil) }
                case .failure(let error):
                    self.lost(RedisError(.connection, "Cannot connect to Redis: \(Self.kind(of: error))."))
                }
            }
    }

    /// Linux's TCP_USER_TIMEOUT (tcp(7)), for which NIO has no constant.
    private static let userTimeout = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: 18))

    /// Whether a host is an IP address, not a name.
    private static func isAddress(_ host: String) -> Bool { (try? SocketAddress(ipAddress: host, port: 0)) != nil }

    /// The kind of a connection error, in words that show no address.
    private static func kind(of error: any Error) -> String {
        switch error {
        case is ChannelError: "timed out"
        case is NIOConnectionError: "connection refused or unknown host"
        default: "connection failed"
        }
    }

    /// Sends the commands that every connection starts with. A server that is still loading its data rejects `ECHO` and
    /// is not ready.
    private func startHandshake() {
        var commands: [RESPCommand] = []
        if let password = self.settings.password {
            commands.append(self.settings.user.map { RESPCommand("AUTH", $0, password) } ?? RESPCommand("AUTH", password))
        }
        if self.settings.database != 0 { commands.append(RESPCommand("SELECT", "\(self.settings.database)")) }
        if self.hub != nil { commands += HubName.query }
        commands.append(RESPCommand("CLIENT", "SETNAME", self.name))
        commands.append(RESPCommand("ECHO", "flowhub"))
        let generation = self.generation
        self.enqueue(commands, within: self.settings.connectMilliseconds) { [core = NIOLoopBound(self, eventLoop: self.loop)] in
            core.value.handshakeFinished($0, generation: generation)
        }
    }

    /// Handles the replies of the handshake. An error reply closes the connection, except for one to `CLIENT SETNAME`.
    private func handshakeFinished(_ result: Result<[RESPValue], RedisError>, generation: Int) {
        guard generation == self.generation, case .success(var replies) = result else { return }
        if let hub = self.hub {
            let start = replies.count - 2 - HubName.query.count
            let found = Array(replies[start..<start + HubName.query.count])
            replies.removeSubrange(start..<start + HubName.query.count)
            if HubName.isOther(found, than: hub) { return self.drop(.otherHub) }
        }
        if let errorReply = replies.dropLast(2).compactMap(\.errorReply).first ?? replies.last?.errorReply {
            self.drop(RedisError(reply: errorReply))
            return
        }
        self.perform(self.machine.handshakeSucceeded())
    }

    /// Handles the loss of a connection, or a failed attempt: fails the pending commands and prepares the next attempt.
    private func lost(_ error: RedisError) {
        let wasReady = self.machine.isReady
        self.channel = nil
        self.replyTimer?.cancel()
        self.replyTimer = nil
        self.outgoing.clear()
        let action = self.machine.lost(jitter: .random(in: 0...1))
        if error == .otherHub {
            if !self.hasLoggedOtherHub {
                self.logger.error(
                    "Redis is used by a hub with a different store; not using Redis",
                    metadata: ["link": "\(self.name)", "error": "\(error)"])
            }
            self.hasLoggedOutage = true
            self.hasLoggedOtherHub = true
        } else if !self.hasLoggedOutage, action != .nothing {
            self.hasLoggedOutage = true
            self.logger.warning(
                wasReady ? "Lost connection to Redis" : "Cannot connect to Redis",
                metadata: ["link": "\(self.name)", "error": "\(error)"])
        }
        self.fail(error.code == .timeout ? error : .lost)
        if wasReady { self.events.lost() } else if action != .nothing { self.events.failed(error) }
        self.perform(action)
    }

    /// Closes the connection and handles it as lost.
    func drop(_ error: RedisError) {
        guard let channel = self.channel else { return }
        // Does not wait for the close to complete: an unresponsive peer would delay it. Later events of this connection
        // are ignored.
        self.generation += 1
        channel.close(promise: nil)
        self.lost(error)
    }

    /// Resumes or pauses reading from the socket.
    func setReading(_ isReading: Bool) {
        self.channel?.setOption(.autoRead, value: isReading).assumeIsolated().whenComplete { _ in }
    }

    // MARK: Commands

    /// Sends commands. Fails them if the connection is not ready, or if a limit of pending commands is exceeded.
    func send(_ commands: [RESPCommand], _ completion: @escaping RedisLink.Completion) {
        guard self.machine.isReady else { return completion(.failure(.notConnected)) }
        guard self.pendingCommands + commands.count <= self.settings.maximumPending,
            self.pendingBytes <= self.settings.maximumPendingBytes
        else { return completion(.failure(.tooManyPending)) }
        self.enqueue(commands, within: self.settings.commandMilliseconds, completion)
    }

    /// Appends commands to the output of this turn of the event loop. If their replies do not arrive within
    /// `milliseconds`, the connection is closed. On a subscriber connection that is ready, the completion is called at
    /// once: Redis answers its commands with confirmations, not with one reply per command.
    private func enqueue(_ commands: [RESPCommand], within milliseconds: Int, _ completion: @escaping RedisLink.Completion) {
        let isFirst = self.outgoing.readableBytes == 0
        for command in commands { self.outgoing.write(command) }
        self.counter.add(commands)
        if self.isSubscriber && self.machine.isReady {
            completion(.success([]))
        } else if commands.isEmpty {
            return completion(.success([]))
        } else {
            let bytes = commands.reduce(0) { $0 + $1.byteCount }
            self.pendingCommands += commands.count
            self.pendingBytes += bytes
            self.pending.append(
                Pending(
                    missing: commands.count, bytes: bytes, deadline: .now() + .milliseconds(Int64(milliseconds)),
                    completion: completion))
            self.armReplyTimer()
        }
        if isFirst { self.loop.assumeIsolated().execute { self.flush() } }
    }

    /// Writes the commands of this turn of the event loop to the socket.
    private func flush() {
        guard let channel = self.channel, self.outgoing.readableBytes > 0 else { return }
        channel.writeAndFlush(self.outgoing, promise: nil)
        self.outgoing = channel.allocator.buffer(capacity: 4_096)
    }

    /// Starts the timer that closes the connection when the reply to the oldest pending commands is overdue. Replies
    /// arrive in order, so one timer is enough.
    private func armReplyTimer() {
        guard self.replyTimer == nil, let first = self.pending.first else { return }
        self.replyTimer = self.loop.assumeIsolated().scheduleTask(deadline: first.deadline) {
            self.replyTimer = nil
            guard let first = self.pending.first else { return }
            if first.deadline <= .now() { self.drop(.timedOut) }
            self.armReplyTimer()
        }
    }

    /// Fails all pending commands.
    private func fail(_ error: RedisError) {
        let failed = self.pending
        self.pending = []
        self.pendingCommands = 0
        self.pendingBytes = 0
        for command in failed { command.completion(.failure(error)) }
    }

    // MARK: Replies and messages

    /// Handles an event of a connection. Events of connections before the latest attempt are ignored.
    private func received(_ event: LinkHandler.Event, generation: Int) {
        guard generation == self.generation else { return }
        switch event {
        case .value(let value): self.received(value)
        case .malformed(let reason): self.drop(RedisError(.malformed, "Invalid reply from Redis: \(reason)."))
        case .failed: self.drop(.lost)
        case .ended: self.lost(.lost)
        }
    }

    /// Handles one received value: a message on a ready subscriber connection, otherwise a reply to the oldest pending
    /// commands.
    private func received(_ value: RESPValue) {
        if let errorReply = value.errorReply, self.machine.isReady, self.handleErrorReply(errorReply) { return }
        if self.isSubscriber, self.machine.isReady { return self.events.pushed(value) }
        guard !self.pending.isEmpty else {
            self.drop(.unexpected)
            return
        }
        self.pending[0].replies.append(value)
        self.pending[0].missing -= 1
        self.pendingCommands -= 1
        guard self.pending[0].missing == 0, let done = self.pending.popFirst() else { return }
        self.pendingBytes -= done.bytes
        done.completion(.success(done.replies))
    }

    /// Handles error replies that concern the connection rather than the command.
    /// - Returns: whether the connection was dropped.
    private func handleErrorReply(_ errorReply: String) -> Bool {
        let error = RedisError(reply: errorReply)
        // Reconnects if the server is read-only or loading: the host name may resolve to the new primary at the next
        // attempt. Also reconnects if a subscriber connection receives any error, since every subscription must succeed.
        if self.isSubscriber || ["READONLY", "MASTERDOWN", "LOADING"].contains(where: errorReply.hasPrefix) {
            self.drop(error)
            return true
        }
        // These errors (no memory, failed persistence, missing permission) recur with every command until an operator
        // acts: log them at most once a minute.
        if ["OOM", "MISCONF", "NOPERM"].contains(where: errorReply.hasPrefix), self.lastErrorReplyLog + .minutes(1) < .now() {
            self.lastErrorReplyLog = .now()
            self.logger.warning("Redis rejected a command", metadata: ["link": "\(self.name)", "error": "\(error)"])
        }
        if errorReply.hasPrefix("NOSCRIPT"), self.lastScriptReload + .seconds(1) < .now() {
            self.lastScriptReload = .now()
            self.events.scriptMissing()
        }
        return false
    }
}

extension RESPValue {
    /// The text of an error reply; `nil` for every other reply.
    var errorReply: String? {
        if case .error(let text) = self { text } else { nil }
    }
}
