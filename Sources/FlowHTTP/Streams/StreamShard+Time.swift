import FlowCore
import NIOCore

/// What an event loop does every second, and while the hub drains.
extension StreamShard {
    // MARK: Time

    /// Does the periodic work: sends heartbeats and presence, closes streams whose token has expired or that could not be
    /// opened in time, ends the subscriptions of flows that have lingered long enough, resumes readers and removes empty
    /// fan-outs. Called every second.
    func tick() {
        let heartbeat = self.heartbeat()
        for stream in self.heartbeatWheel.advance() { stream.sendHeartbeat(heartbeat) }
        let seconds = self.now().seconds
        self.forEachStream { stream in
            if let end = stream.principal.endsAt(leeway: self.services.leewaySeconds), end <= seconds {
                stream.close(.expired)
                return
            }
            stream.measureQueue()
            if !self.isOverQueueBudget, stream.isOpen, stream.isWritable {
                stream.advanceReaders()
            }
        }
        if self.isOverQueueBudget { self.shedLoad() }
        for stream in Array(self.openingStreams.values) {
            if stream.countOpeningTick() > self.services.configuration.openSeconds {
                stream.close(.unavailable, retryMilliseconds: self.jitteredRetry())
            }
        }
        for flow in self.lingeringFlows {
            guard let fanout = self.fanouts[flow], fanout.lingerHasExpired else { continue }
            // If a subscriber was not sent the flow's newest event yet, its subscription stays until the event was sent, and
            // ends at a later tick.
            fanout.forEachSubscription { subscription in
                guard subscription.reader.isLive, fanout.hasEnded(for: subscription) else { return }
                subscription.stream.end(subscription, fanout.closingReason)
            }
        }
        for fanout in self.fanouts.values { fanout.sendPresence() }
        self.removeEmptyFanouts()
        self.dropIdleSnapshots()
    }

    /// The `heartbeat` event with the current time and delivery status.
    func heartbeat() -> EncodedEvent { ControlEvent.heartbeat(at: self.now(), self.delivery).encoded() }

    // MARK: Draining

    /// Closes the opening streams at once and the open streams spread over the window, in random order, so that clients do not
    /// all reconnect at the same time.
    func drain(over window: TimeAmount) {
        guard !self.isDraining else { return }
        self.isDraining = true
        for stream in Array(self.openingStreams.values) { stream.close(.drain, retryMilliseconds: self.jitteredRetry()) }
        let streams = self.heartbeatWheel.shuffled()
        for (index, stream) in streams.enumerated() {
            let delay = window.nanoseconds * Int64(index) / Int64(max(1, streams.count))
            self.loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
                stream.close(.drain, retryMilliseconds: self.jitteredRetry())
            }
        }
    }
}
