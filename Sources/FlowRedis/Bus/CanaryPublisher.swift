import NIOCore

/// Publishes this instance's canaries and checks those that return; ``Canary`` decides from them whether messages arrive.
/// Confined to one event loop.
final class CanaryPublisher {
    /// The Redis channel of this instance's canaries; also the key that the script writes.
    let channel: String
    private let commands: RedisLink
    private let codec: MessageCodec
    /// Milliseconds between two canaries while the instance watches a flow.
    private let interval: Int64
    private let pace: RedisPace
    private let loop: any EventLoop
    private var canary: Canary
    /// When the most recent canary was sent, in milliseconds of ``uptime``.
    private var lastSentAt: Int64 = 0

    /// - Parameters:
    ///   - interval: milliseconds between two canaries; longer while the instance is idle (see ``RedisPace``).
    ///   - timeout: milliseconds without a canary until delivery counts as degraded.
    init(
        instance: String, codec: MessageCodec, interval: Int64, timeout: Int64, commands: RedisLink, pace: RedisPace,
        loop: any EventLoop
    ) {
        self.commands = commands
        self.channel = "hub:canary:\(instance)"
        self.codec = codec
        self.interval = interval
        self.pace = pace
        self.loop = loop
        // At least 2.5 intervals, so that a single late canary does not count as an outage.
        self.canary = Canary(timeout: max(timeout, interval * 5 / 2))
    }

    /// Whether the subscriber connection is complete; see ``Canary/started(at:)``.
    var hasStarted: Bool { self.canary.hasStarted }
    /// Milliseconds from publication to arrival of the most recently received canary; `nil` before the first one.
    var lag: Int64? { self.canary.lag }
    /// Monotonic time in milliseconds.
    private var uptime: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    /// Records that the subscriber connection is complete, and sends its first canary.
    func start() {
        self.canary.started(at: self.uptime)
        self.send()
    }

    /// Records that the subscriber connection was lost.
    func lost() { self.canary.lost() }
    /// Records that the command connection was lost.
    func sendingFailed() { self.canary.sendingFailed() }
    /// Records that reading from the subscriber connection has resumed after a pause.
    func readingResumed() { self.canary.readingResumed(at: self.uptime) }
    /// Assesses whether canaries arrive.
    func assess() -> Canary.Assessment { self.canary.assess(at: self.uptime) }

    /// Applies a change of the pace. An instance that has become active sends a canary at once.
    func paceChanged() {
        self.canary.intervalChanged(extra: self.pace.interval(self.interval) - self.interval, at: self.uptime)
        if !self.pace.isIdle, self.hasStarted { self.send() }
    }

    /// Sends the next canary if its time has come. Called once per interval: while the instance is active, each call sends one.
    func sendIfDue() {
        guard self.hasStarted, !self.pace.isIdle || self.uptime - self.lastSentAt >= self.pace.interval(self.interval) else {
            return
        }
        self.send()
    }

    /// Publishes the next canary.
    func send() {
        let publisher = NIOLoopBound(self, eventLoop: self.loop)
        let number = self.canary.next(at: self.uptime)
        self.lastSentAt = self.uptime
        var call = RedisScript.canary.call(keys: [self.channel])
        call.add(self.mac(of: number) + Array(String(number).utf8))
        call.add(60_000)
        self.commands.send([call]) { result in
            // Only a canary that Redis accepted must arrive. A failed one proves nothing about the subscriber connection.
            guard case .success(let replies) = result, replies.first?.integer != nil else { return }
            publisher.value.canary.accepted(number, at: publisher.value.uptime)
        }
    }

    /// Handles a received canary. Ignores it if its MAC is wrong.
    /// - Returns: whether delivery changes from degraded to ok.
    func received(_ payload: [UInt8]) -> Bool {
        guard payload.count > MessageAuthenticator.macLength,
            let number = UInt64(String(decoding: payload[MessageAuthenticator.macLength...], as: UTF8.self)),
            self.mac(of: number).elementsEqual(payload.prefix(MessageAuthenticator.macLength))
        else { return false }
        return self.canary.received(number, at: self.uptime)
    }

    /// MAC of a canary of this process. It covers the origin, which is unique to the process: another process may have
    /// the same instance name for some time.
    private func mac(of number: UInt64) -> [UInt8] {
        self.codec.authenticator.mac(for: Array("\(self.codec.origin) \(number)".utf8))
    }
}
