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
/// instance has taken it within three such intervals. It listens until it ends.
extension ForeignListener {
    struct Lease {
        /// TTL in Redis.
        let ttl: TimeAmount
        /// Time between two requests.
        let interval: TimeAmount
        /// This process as the holder: its instance's name, a slash, and a random text, because a process that ends and its
        /// successor may have the same name.
        let holder: String
        /// When the lease expires, if this instance holds it.
        var heldUntil: NIODeadline?
        /// Whether a request is in flight.
        var isRequesting = false
        var timer: Scheduled<Void>?
        var isDraining = false
        /// When a draining instance may take the lease again.
        var mayReturnAt = NIODeadline.distantPast
        /// Whether ``ForeignListener/finish(_:)`` was completed.
        var isFinished = false

        init(milliseconds: Int64, holder: String) {
            self.ttl = .milliseconds(milliseconds)
            self.interval = .milliseconds(milliseconds / 5)
            self.holder = holder
        }
    }

    private static let key = "hub:apply"
    /// Time between two checks whether all updates were applied, before the lease is given back.
    private static let idleCheckInterval = TimeAmount.milliseconds(20)
    /// Maximum time that an ending instance waits until the updates that it heard are applied.
    private static let longestFinish = TimeAmount.seconds(5)

    /// Requests the lease if updates were heard, now and at each interval. Does nothing if that is going on.
    func seekLease() {
        guard self.lease.timer == nil else { return }
        guard self.applier.hasRecent() else { return self.loseLease() }
        self.checkLease()
        self.requestLease()
        let listener = NIOLoopBound(self, eventLoop: self.loop)
        self.lease.timer = self.loop.scheduleTask(in: self.lease.interval) {
            listener.value.lease.timer = nil
            listener.value.seekLease()
        }
    }

    /// Stops to apply updates if the lease was not renewed in time.
    func checkLease() {
        if let end = self.lease.heldUntil, end <= .now() { self.loseLease() }
    }

    /// Called when another instance has given the lease back.
    func leaseIsFree() { if self.lease.timer != nil { self.requestLease() } }

    /// Asks for the lease, also to renew it.
    /// - Parameter dead: a holder that is known to be dead and whose lease may be taken.
    private func requestLease(from dead: String = "") {
        guard self.isListening, !self.lease.isRequesting, !self.lease.isFinished else { return }
        let isHolder = self.lease.heldUntil != nil
        guard isHolder || !self.lease.isDraining || self.lease.mayReturnAt <= .now() else { return }
        self.lease.isRequesting = true
        var call = RedisScript.lease.call(keys: [Self.key])
        call.add(self.lease.holder)
        call.add(Int(self.lease.ttl.nanoseconds / 1_000_000))
        call.add(dead)
        let end = NIODeadline.now() + self.lease.ttl
        let listener = NIOLoopBound(self, eventLoop: self.loop)
        self.links?.commands.send([call]) { result in
            listener.value.lease.isRequesting = false
            guard case .success(let replies) = result, let holder = replies.first?.text else { return }
            listener.value.holds(holder, until: end)
        }
    }

    /// Handles the name of the holder: starts to apply if it is this instance. Else checks whether the other one is alive.
    private func holds(_ holder: String, until end: NIODeadline) {
        if holder == self.lease.holder {
            self.lease.heldUntil = end
            // The connection was lost in the meantime: another instance may hear more.
            guard self.isListening, !self.lease.isFinished else { return self.giveLeaseBack() }
            self.applier.start()
            if self.lease.isDraining, self.lease.mayReturnAt > .now() { self.handOver() }
            return
        }
        self.loseLease()
        let other = String(holder.prefix { $0 != "/" })
        // This process subscribes to the channel too, if a predecessor with the same name holds the lease.
        let own = other == self.instance ? 1 : 0
        self.lease.isRequesting = true
        let listener = NIOLoopBound(self, eventLoop: self.loop)
        self.links?.commands.send([RESPCommand("PUBSUB", "NUMSUB", "hub:control:\(other)")]) { result in
            listener.value.lease.isRequesting = false
            guard case .success(let replies) = result, let subscribers = replies.first?.elements?.last?.integer else { return }
            if subscribers <= own { listener.value.requestLease(from: holder) }
        }
    }

    /// Stops to apply updates without the lease.
    private func loseLease() {
        self.lease.heldUntil = nil
        self.applier.stop()
    }

    /// Stops to apply updates, and gives the lease back so that another instance takes it at once.
    func giveLeaseBack() {
        guard self.lease.heldUntil != nil else { return }
        self.loseLease()
        self.lease.mayReturnAt = .now() + self.lease.interval * 3
        var call = RedisScript.leaseRelease.call(keys: [Self.key])
        call.add(self.lease.holder)
        self.links?.commands.send([call])
        self.control.announceFreeLease()
    }

    // MARK: End

    /// Called when this instance starts to drain. Gives the lease back when the updates that it heard are applied: its successor
    /// may not have heard them.
    func startDraining() {
        self.lease.isDraining = true
        self.lease.mayReturnAt = .now() + self.lease.interval * 3
        self.handOver()
    }

    private func handOver() {
        guard self.lease.heldUntil != nil, !self.lease.isFinished else { return }
        if !self.lease.isRequesting, self.applier.stopIfIdle() { return self.giveLeaseBack() }
        let listener = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(in: Self.idleCheckInterval) { listener.value.handOver() }
    }

    /// Called at the end of the drain. Applies what no other instance does, gives the lease back, and does not take it again.
    /// - Parameter done: succeeds when that is complete, at the latest after 5 s.
    func finish(_ done: EventLoopPromise<Void>) {
        self.lease.isDraining = true
        self.lease.mayReturnAt = .now()
        if self.lease.heldUntil == nil, self.applier.hasRecent(), self.applier.hasUnapplied { self.requestLease() }
        self.finish(by: .now() + Self.longestFinish, done)
    }

    private func finish(by deadline: NIODeadline, _ done: EventLoopPromise<Void>) {
        let isHolder = self.lease.heldUntil != nil
        let isDone = !self.lease.isRequesting && (!isHolder || self.applier.stopIfIdle())
        guard isDone || deadline <= .now() else {
            let listener = NIOLoopBound(self, eventLoop: self.loop)
            self.loop.scheduleTask(in: Self.idleCheckInterval) { listener.value.finish(by: deadline, done) }
            return
        }
        self.giveLeaseBack()
        self.lease.isFinished = true
        self.lease.timer?.cancel()
        done.succeed()
    }
}
