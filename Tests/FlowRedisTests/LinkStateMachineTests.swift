import FlowCore
import Testing

@testable import FlowRedis

@Suite struct LinkStateMachineTests {
    @Test func firstReconnectIsImmediateAndBackoffDoubles() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        #expect(machine.start() == .nothing)
        #expect(machine.connected() == .handshake)
        #expect(machine.handshakeSucceeded() == .ready)
        #expect(machine.isReady == true)
        machine.provedStable()
        #expect(machine.lost(jitter: 1) == .connect)
        var backoffs: [Int] = []
        for _ in 0..<10 {
            guard case .wait(let backoff) = machine.lost(jitter: 1) else { break }
            backoffs.append(backoff)
            #expect(machine.lost(jitter: 1) == .nothing)
            #expect(machine.backoffElapsed() == .connect)
        }
        #expect(backoffs == [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000])
        #expect(machine.connected() == .handshake)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 5_000), "without a handshake the backoff stays")
        #expect(machine.backoffElapsed() == .connect)
        #expect(machine.connected() == .handshake)
        #expect(machine.handshakeSucceeded() == .ready)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 50), "backoff after a connection that was not stable")
        #expect(machine.backoffElapsed() == .connect)
        #expect(machine.connected() == .handshake)
        #expect(machine.handshakeSucceeded() == .ready)
        machine.provedStable()
        #expect(machine.lost(jitter: 0) == .connect)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 50))
    }

    @Test func shortLivedConnectionsReconnectAtMostOncePerSecond() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        var backoffs: [Int] = []
        for _ in 0..<6 {
            #expect(machine.connected() == .handshake)
            #expect(machine.handshakeSucceeded() == .ready)
            guard case .wait(let backoff) = machine.lost(jitter: 1) else { break }
            backoffs.append(backoff)
            #expect(machine.backoffElapsed() == .connect)
        }
        #expect(backoffs == [100, 200, 400, 800, 1_000, 1_000])
    }

    @Test func stoppedLinkNeverReconnects() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        #expect(machine.stop() == .close)
        #expect(machine.connected() == .close)
        #expect(machine.lost(jitter: 0) == .nothing)
        #expect(machine.backoffElapsed() == .nothing)
        #expect(machine.handshakeSucceeded() == .nothing)
    }
}

@Suite struct SubscriptionTrackerTests {
    private func flow(_ name: String) throws -> FlowID { try #require(FlowID(name)) }

    @Test func resubscribesEveryFlowAfterLoss() throws {
        let (a, b) = (try self.flow("a"), try self.flow("b"))
        var tracker = SubscriptionTracker()
        #expect(tracker.subscribe(a) == .pending)
        #expect((tracker.isComplete) == false)
        #expect(tracker.connected() == [a])
        #expect(tracker.subscribe(b) == .sendSubscribe)
        #expect((tracker.confirm(a)) == true)
        #expect((tracker.isComplete) == true)
        #expect((tracker.confirm(b)) == true)
        #expect((tracker.confirm(b)) == false)
        #expect((tracker.isComplete) == true)
        #expect(tracker.subscribe(b) == .confirmed)
        #expect(tracker.subscribe(try self.flow("c")) == .sendSubscribe)
        #expect(tracker.isComplete == true, "later subscriptions do not count")
        tracker.lost()
        #expect((tracker.isComplete) == false)
        #expect(try Set(tracker.connected()) == [a, b, self.flow("c")])
        #expect((tracker.isComplete) == false)
    }

    @Test func unwatchedFlowExpiresAfterTenSeconds() throws {
        let a = try self.flow("a")
        var tracker = SubscriptionTracker()
        _ = tracker.connected()
        #expect(tracker.subscribe(a) == .sendSubscribe)
        tracker.unsubscribe(a, at: 0)
        #expect(tracker.removeExpired(at: 60_000) == [], "its confirmation is in flight")
        #expect((tracker.confirm(a)) == false, "the flow is no longer watched")
        #expect(tracker.subscribe(a) == .confirmed)
        tracker.unsubscribe(a, at: 60_000)
        #expect(tracker.removeExpired(at: 69_999) == [])
        #expect(tracker.removeExpired(at: 70_000) == [a])
        #expect(tracker.subscribe(a) == .sendSubscribe)
        tracker.unsubscribe(a, at: 70_001)
        tracker.lost()
        #expect(tracker.removeExpired(at: 90_000) == [a], "no confirmation can arrive")
        #expect(tracker.count == 0)
        #expect(tracker.connected() == [])
    }
}

@Suite struct CanaryTests {
    @Test func missingCanaryReplacesSubscriberConnection() {
        var canary = Canary(timeout: 3_000)
        #expect(canary.assess(at: 0) == .ok)
        canary.started(at: 1_000)
        let first = canary.next(at: 1_000)
        canary.accepted(first, at: 1_001)
        #expect(canary.isDelivering == false)
        #expect((canary.received(first, at: 1_002)) == true)
        #expect(canary.lag == 2)
        let second = canary.next(at: 2_000)
        #expect((canary.received(second, at: 2_002)) == false)
        // The server's reply for a canary that was already received.
        canary.accepted(second, at: 2_003)
        for moment in [3_000, 4_000] as [Int64] {
            canary.accepted(canary.next(at: moment), at: moment)
            #expect(canary.assess(at: moment) == .ok)
        }
        #expect(canary.assess(at: 5_002) == .replace)
        #expect(canary.isDelivering == false)
        canary.lost()
        #expect(canary.assess(at: 60_000) == .ok, "no connection to observe")
        canary.started(at: 60_000)
        #expect(canary.assess(at: 62_999) == .ok, "a new connection gets the full timeout")
    }

    @Test func sendFailureDoesNotReplaceSubscriberConnection() {
        var canary = Canary(timeout: 3_000)
        canary.started(at: 0)
        let first = canary.next(at: 0)
        _ = canary.received(first, at: 1)
        #expect(canary.assess(at: 3_001) == .degraded)
        canary.accepted(canary.next(at: 3_400), at: 3_500)
        #expect(canary.assess(at: 4_000) == .degraded, "a recently accepted canary may still arrive")
        #expect(canary.assess(at: 5_000) == .replace)
    }

    @Test func longerIntervalOfCanariesLengthensOnlyTheSilence() {
        var canary = Canary(timeout: 3_000)
        canary.started(at: 0)
        let first = canary.next(at: 0)
        canary.accepted(first, at: 1)
        _ = canary.received(first, at: 2)
        canary.intervalChanged(extra: 119_000, at: 10)
        #expect(canary.assess(at: 120_000) == .ok)
        canary.accepted(canary.next(at: 120_010), at: 120_011)
        #expect(canary.assess(at: 122_009) == .ok)
        // The connection is judged by the canary that was accepted, not by the longer interval.
        #expect(canary.assess(at: 122_010) == .replace)
        canary.started(at: 130_000)
        canary.intervalChanged(extra: 0, at: 200_000)
        #expect(canary.assess(at: 202_999) == .ok, "the time at the longer interval does not count")
        #expect(canary.assess(at: 203_000) == .degraded)
    }

    @Test func onlySentCanariesCount() {
        var canary = Canary(timeout: 3_000)
        let early = canary.next(at: 0)
        #expect((canary.received(early, at: 1)) == false, "the subscriber connection is not complete")
        canary.started(at: 10)
        for number in [0, 99, UInt64.max] { #expect((canary.received(number, at: 11)) == false) }
        #expect(canary.isDelivering == false)
        let late = canary.next(at: 20)
        canary.sendingFailed()
        #expect((canary.received(late, at: 21)) == false, "the command connection is lost")
        #expect(canary.isDelivering == false)
        let next = canary.next(at: 30)
        #expect((canary.received(next, at: 31)) == true)
        #expect((canary.received(next, at: 32)) == false)
    }
}
