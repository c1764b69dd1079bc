import DequeModule
import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// What a ``RedisLink`` has on its event loop.
final class LinkCore {
    private struct Pending {
        var missing: Int
        let bytes: Int
        var replies: [RESPValue] = []
        let deadline: NIODeadline
        let completion: RedisLink.Completion
    }

    private let settings: RedisSettings
    private let name: String
    private let isSubscriber: Bool
    private let tls: NIOSSLContext?
    private let loop: any EventLoop
    private let logger: Logger
    private let events: RedisLink.Events

    private var machine = LinkStateMachine()
    private var channel: (any Channel)?
    /// Of the connection that is made or was made last: what an earlier one still tells is not heard.
    private var generation = 0
    private var pending: Deque<Pending> = []
    private var pendingCommands = 0
    private var outgoing = ByteBuffer()
    private var replyTimer: Scheduled<Void>?
    private var hasLoggedOutage = false
    private var pendingBytes = 0
    private var lastScriptReload = NIODeadline.uptimeNanoseconds(0)
    private var lastErrorReplyLog = NIODeadline.uptimeNanoseconds(0)

    /// How long a connection must be ready to count as one that works.
    private static let stabilityPeriod = TimeAmount.seconds(1)

    init(
        _ settings: RedisSettings, name: String, isSubscriber: Bool, tls: NIOSSLContext?, loop: any EventLoop, logger: Logger,
        events: RedisLink.Events
    ) {
        self.settings = settings
        self.name = name
        self.isSubscriber = isSubscriber
        self.tls = tls
        self.loop = loop
        self.logger = logger
        self.events = events
    }

    // MARK: Life

    func start() { self.perform(self.machine.start()) }

    func stop(_ done: EventLoopPromise<Void>) {
        self.replyTimer?.cancel()
        let channel = self.channel
        self.perform(self.machine.stop())
        self.fail(.notConnected)
        if let channel { channel.closeFuture.cascade(to: done) } else { done.succeed() }
    }

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
                if self.hasLoggedOutage { self.logger.notice("Redis is reached again", metadata: ["link": "\(self.name)"]) }
                self.hasLoggedOutage = false
            }
            self.events.ready()
        case .close:
            self.channel?.close(promise: nil)
            self.channel = nil
        }
    }

    private func connect() {
        self.generation += 1
        let generation = self.generation
        let core = NIOLoopBound(self, eventLoop: self.loop)
        let (tls, settings) = (self.tls, self.settings)
        ClientBootstrap(group: self.loop)
            .connectTimeout(.milliseconds(Int64(settings.connectMilliseconds)))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            // Without it a link that fell silent is noticed after a quarter of an hour (tcp_retries2).
            .channelOption(Self.userTimeout, value: .init(settings.commandMilliseconds))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls {
                        // An address has no name that a certificate could bear beside it.
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
                    // Stopped meanwhile.
                    if self.channel == nil { channel.close(promise: nil) }
                case .failure(let error): self.lost(RedisError(.connection, "Redis is not reached: \(Self.kind(of: error))."))
                }
            }
    }

    /// Linux's TCP_USER_TIMEOUT (tcp(7)), which NIO has no name for.
    private static let userTimeout = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: 18))

    private static func isAddress(_ host: String) -> Bool { (try? SocketAddress(ipAddress: host, port: 0)) != nil }

    private static func kind(of error: any Error) -> String {
        switch error {
        case is ChannelError: "the time was up"
        case is NIOConnectionError: "nobody listens there, or the name is not known"
        default: "the connection failed"
        }
    }

    /// What every connection begins with. A server that is still loading is not ready.
    private func startHandshake() {
        var commands: [RESPCommand] = []
        if let password = self.settings.password {
            commands.append(self.settings.user.map { RESPCommand("AUTH", $0, password) } ?? RESPCommand("AUTH", password))
        }
        if self.settings.database != 0 { commands.append(RESPCommand("SELECT", "\(self.settings.database)")) }
        commands.append(RESPCommand("CLIENT", "SETNAME", self.name))
        commands.append(RESPCommand("ECHO", "flowhub"))
        let generation = self.generation
        self.enqueue(commands, within: self.settings.connectMilliseconds) { [core = NIOLoopBound(self, eventLoop: self.loop)] in
            core.value.handshakeFinished($0, generation: generation)
        }
    }

    private func handshakeFinished(_ result: Result<[RESPValue], RedisError>, generation: Int) {
        guard generation == self.generation, case .success(let replies) = result else { return }
        if let errorReply = replies.dropLast(2).compactMap(\.errorReply).first ?? replies.last?.errorReply {
            self.drop(RedisError(reply: errorReply))
            return
        }
        self.perform(self.machine.handshakeSucceeded())
    }

    private func lost(_ error: RedisError) {
        let wasReady = self.machine.isReady
        self.channel = nil
        self.replyTimer?.cancel()
        self.replyTimer = nil
        self.outgoing.clear()
        let action = self.machine.lost(jitter: .random(in: 0...1))
        if !self.hasLoggedOutage, action != .nothing {
            self.hasLoggedOutage = true
            self.logger.warning("Redis is not reached", metadata: ["link": "\(self.name)", "reason": "\(error)"])
        }
        self.fail(error.code == .timeout ? error : .lost)
        if wasReady { self.events.lost() } else if action != .nothing { self.events.failed(error) }
        self.perform(action)
    }

    /// Gives the connection up.
    func drop(_ error: RedisError) {
        guard let channel = self.channel else { return }
        // What it still tells is not waited for: a silent peer would keep its close waiting.
        self.generation += 1
        channel.close(promise: nil)
        self.lost(error)
    }

    func setReading(_ isReading: Bool) {
        self.channel?.setOption(.autoRead, value: isReading).assumeIsolated().whenComplete { _ in }
    }

    // MARK: Commands

    func send(_ commands: [RESPCommand], _ completion: @escaping RedisLink.Completion) {
        guard self.machine.isReady else { return completion(.failure(.notConnected)) }
        guard self.pendingCommands + commands.count <= self.settings.maximumPending,
            self.pendingBytes <= self.settings.maximumPendingBytes
        else { return completion(.failure(.tooManyPending)) }
        self.enqueue(commands, within: self.settings.commandMilliseconds, completion)
    }

    private func enqueue(_ commands: [RESPCommand], within milliseconds: Int, _ completion: @escaping RedisLink.Completion) {
        let isFirst = self.outgoing.readableBytes == 0
        for command in commands { self.outgoing.write(command) }
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

    private func flush() {
        guard let channel = self.channel, self.outgoing.readableBytes > 0 else { return }
        channel.writeAndFlush(self.outgoing, promise: nil)
        self.outgoing = channel.allocator.buffer(capacity: 4_096)
    }

    /// Answers come in order: if the first is late, all are.
    private func armReplyTimer() {
        guard self.replyTimer == nil, let first = self.pending.first else { return }
        self.replyTimer = self.loop.assumeIsolated().scheduleTask(deadline: first.deadline) {
            self.replyTimer = nil
            guard let first = self.pending.first else { return }
            if first.deadline <= .now() { self.drop(.timedOut) }
            self.armReplyTimer()
        }
    }

    private func fail(_ error: RedisError) {
        let failed = self.pending
        self.pending = []
        self.pendingCommands = 0
        self.pendingBytes = 0
        for command in failed { command.completion(.failure(error)) }
    }

    // MARK: What comes

    private func received(_ event: LinkHandler.Event, generation: Int) {
        guard generation == self.generation else { return }
        switch event {
        case .value(let value): self.received(value)
        case .malformed(let reason): self.drop(RedisError(.malformed, "Redis sent \(reason)."))
        case .failed: self.drop(.lost)
        case .ended: self.lost(.lost)
        }
    }

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

    /// Error replies that say something of the connection and not of the command.
    /// - Returns: whether it was given up.
    private func handleErrorReply(_ errorReply: String) -> Bool {
        let error = RedisError(reply: errorReply)
        // A server that only reads is the wrong one: the name may lead to the right one by now. And nothing that is subscribed
        // to may be refused.
        if self.isSubscriber || ["READONLY", "MASTERDOWN", "LOADING"].contains(where: errorReply.hasPrefix) {
            self.drop(error)
            return true
        }
        // What is refused for want of memory or rights goes on being refused; one word of it is enough for a while.
        if ["OOM", "MISCONF", "NOPERM"].contains(where: errorReply.hasPrefix), self.lastErrorReplyLog + .minutes(1) < .now() {
            self.lastErrorReplyLog = .now()
            self.logger.warning("Redis refuses commands", metadata: ["link": "\(self.name)", "reason": "\(error)"])
        }
        if errorReply.hasPrefix("NOSCRIPT"), self.lastScriptReload + .seconds(1) < .now() {
            self.lastScriptReload = .now()
            self.events.scriptMissing()
        }
        return false
    }
}

extension RESPValue {
    /// The server's words, if it said no.
    var errorReply: String? {
        if case .error(let text) = self { text } else { nil }
    }
}
