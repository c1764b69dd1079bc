import FlowCore
import NIOCore

/// The leader lease `hub:apply`: the instance that holds it applies foreign updates.
///
/// An instance seeks the lease from the first update that it hears until none has come for the time that updates are kept. It
/// asks at once, and then five times per TTL, which renews the lease too. If another instance holds the lease, it asks whether
/// that one still subscribes to its control channel. If not, it takes over at once: a killed process loses its connections
/// immediately, and only a machine that fails leaves the lease to its TTL.
///
/// An instance that drains gives the lease back as soon as it has applied what it heard, and takes it again only if no other
/// instance has taken it within three such intervals. It listens until it ends. Confined to one event loop.
final class ForeignLease {
    private static let key = "hub:apply"
    /// Time between two checks whether all updates were applied, before the lease is given back.
    private static let idleCheckInterval = TimeAmount.milliseconds(20)
    /// Maximum time that an ending instance waits until the updates that it heard are applied.
    private static let longestFinish = TimeAmount.seconds(5)

    /// Whether this instance receives the messages of all flows. Without, it takes no lease.
    var isListening = false

    private let applier: ForeignUpdateApplier
    private let instance: String
    private let control: ControlChannel
    private let commands: RedisLink
    private let loop: any EventLoop
    /// TTL in Redis.
    private let ttl: TimeAmount
    /// Time between two requests.
    private let interval: TimeAmount
    /// This process as the holder: its instance's name, a slash, and a random text, because a process that ends and its
    /// successor may have the same name. In earlier releases it was the name alone.
    private let holder: String
    /// When the lease expires, if this instance holds it.
    private var heldUntil: NIODeadline?
    /// Whether a request is in flight.
    private var isRequesting = false
    private var timer: Scheduled<Void>?
    private var isDraining = false
    /// When a draining instance may take the lease again.
    private var mayReturnAt = NIODeadline.distantPast
    /// Whether ``finish(_:)`` was completed.
    private var isFinished = false

    /// - Parameter milliseconds: TTL of the lease in Redis.
    init(
        _ applier: ForeignUpdateApplier, instance: String, milliseconds: Int64, control: ControlChannel, commands: RedisLink,
        loop: any EventLoop
    ) {
        self.applier = applier
        self.instance = instance
        self.control = control
        self.commands = commands
        self.loop = loop
        self.ttl = .milliseconds(milliseconds)
        self.interval = .milliseconds(milliseconds / 5)
        self.holder = "\(instance)/\(RandomText.hex128())"
    }

    /// Requests the lease if updates were heard, now and at each interval. Does nothing if that is going on.
    func seek() {
        guard self.timer == nil else { return }
        guard self.applier.hasRecent() else { return self.lose() }
        self.check()
        self.request()
        let lease = NIOLoopBound(self, eventLoop: self.loop)
        self.timer = self.loop.scheduleTask(in: self.interval) {
            lease.value.timer = nil
            lease.value.seek()
        }
    }

    /// Stops to apply updates if the lease was not renewed in time.
    func check() {
        if let end = self.heldUntil, end <= .now() { self.lose() }
    }

    /// Called when another instance has given the lease back.
    func isFree() { if self.timer != nil { self.request() } }

    /// Asks for the lease, also to renew it.
    /// - Parameter dead: a holder that is known to be dead and whose lease may be taken.
    private func request(from dead: String = "") {
        guard self.isListening, !self.isRequesting, !self.isFinished else { return }
        let isHolder = self.heldUntil != nil
        guard isHolder || !self.isDraining || self.mayReturnAt <= .now() else { return }
        self.isRequesting = true
        var call = RedisScript.lease.call(keys: [Self.key])
        call.add(self.holder)
        call.add(Int(self.ttl.nanoseconds / 1_000_000))
        call.add(dead)
        let end = NIODeadline.now() + self.ttl
        let lease = NIOLoopBound(self, eventLoop: self.loop)
        self.commands.send([call]) { result in
            lease.value.isRequesting = false
            guard case .success(let replies) = result, let holder = replies.first?.text else { return }
            lease.value.holds(holder, until: end)
        }
    }

    /// Handles the name of the holder: starts to apply if it is this instance. Else checks whether the other one is alive.
    private func holds(_ holder: String, until end: NIODeadline) {
        if holder == self.holder {
            self.heldUntil = end
            // The connection was lost in the meantime: another instance may hear more.
            guard self.isListening, !self.isFinished else { return self.giveBack() }
            self.applier.start()
            if self.isDraining, self.mayReturnAt > .now() { self.handOver() }
            return
        }
        self.lose()
        let other = String(holder.prefix { $0 != "/" })
        // This process subscribes to the channel too, if a predecessor with the same name holds the lease.
        let own = other == self.instance ? 1 : 0
        self.isRequesting = true
        let lease = NIOLoopBound(self, eventLoop: self.loop)
        self.commands.send([RESPCommand("PUBSUB", "NUMSUB", "hub:control:\(other)")]) { result in
            lease.value.isRequesting = false
            guard case .success(let replies) = result else { return }
            // Without the privilege for PUBSUB, a holder counts as alive until its lease expires.
            if let subscribers = replies.first?.elements?.last?.integer, subscribers <= own {
                lease.value.request(from: holder)
            } else {
                lease.value.applier.sawOther(isOfEarlierRelease: !holder.contains("/"))
            }
        }
    }

    /// Stops to apply updates without the lease.
    private func lose() {
        self.heldUntil = nil
        self.applier.stop()
    }

    /// Stops to apply updates, and gives the lease back so that another instance takes it at once.
    func giveBack() {
        guard self.heldUntil != nil else { return }
        self.lose()
        self.mayReturnAt = .now() + self.interval * 3
        var call = RedisScript.leaseRelease.call(keys: [Self.key])
        call.add(self.holder)
        self.commands.send([call])
        self.control.announceFreeLease()
    }

    // MARK: End

    /// Called when this instance starts to drain. Gives the lease back when the updates that it heard are applied: its successor
    /// may not have heard them.
    func startDraining() {
        self.isDraining = true
        self.mayReturnAt = .now() + self.interval * 3
        self.handOver()
    }

    private func handOver() {
        guard self.heldUntil != nil, !self.isFinished else { return }
        if !self.isRequesting, self.applier.stopIfIdle() { return self.giveBack() }
        let lease = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(in: Self.idleCheckInterval) { lease.value.handOver() }
    }

    /// Called at the end of the drain. Applies what no other instance does, gives the lease back, and does not take it again.
    /// - Parameter done: succeeds when that is complete, at the latest after 5 s.
    func finish(_ done: EventLoopPromise<Void>) {
        self.isDraining = true
        self.mayReturnAt = .now()
        if self.heldUntil == nil, self.applier.hasRecent(), self.applier.hasUnapplied { self.request() }
        self.finish(by: .now() + Self.longestFinish, done)
    }

    private func finish(by deadline: NIODeadline, _ done: EventLoopPromise<Void>) {
        let isHolder = self.heldUntil != nil
        let isDone = !self.isRequesting && (!isHolder || self.applier.stopIfIdle())
        guard isDone || deadline <= .now() else {
            let lease = NIOLoopBound(self, eventLoop: self.loop)
            self.loop.scheduleTask(in: Self.idleCheckInterval) { lease.value.finish(by: deadline, done) }
            return
        }
        self.giveBack()
        self.isFinished = true
        self.timer?.cancel()
        self.applier.end()
        done.succeed()
    }
}
