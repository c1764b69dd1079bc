import FlowCore
import Testing

@testable import FlowRedis

@Suite struct LinkStateMachineTests {
    @Test func theFirstTryAfterALossIsImmediateAndThePausesDouble() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        #expect(machine.start() == .nothing)
        #expect(machine.connected() == .greet)
        #expect(machine.letIn() == .announce)
        #expect(machine.isReady == true)
        machine.stood()
        #expect(machine.lost(jitter: 1) == .connect)
        var pauses: [Int] = []
        for _ in 0..<10 {
            guard case .wait(let pause) = machine.lost(jitter: 1) else { break }
            pauses.append(pause)
            #expect(machine.lost(jitter: 1) == .nothing)
            #expect(machine.pauseIsOver() == .connect)
        }
        #expect(pauses == [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000])
        #expect(machine.connected() == .greet)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 5_000), "let in is what counts")
        #expect(machine.pauseIsOver() == .connect)
        #expect(machine.connected() == .greet)
        #expect(machine.letIn() == .announce)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 50), "who is thrown out at once does not come back at once")
        #expect(machine.pauseIsOver() == .connect)
        #expect(machine.connected() == .greet)
        #expect(machine.letIn() == .announce)
        machine.stood()
        #expect(machine.lost(jitter: 0) == .connect)
        #expect(machine.lost(jitter: 0) == .wait(milliseconds: 50))
    }

    @Test func whoIsThrownOutAtOnceComesBackOnceASecondAtMost() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        var pauses: [Int] = []
        for _ in 0..<6 {
            #expect(machine.connected() == .greet)
            #expect(machine.letIn() == .announce)
            guard case .wait(let pause) = machine.lost(jitter: 1) else { break }
            pauses.append(pause)
            #expect(machine.pauseIsOver() == .connect)
        }
        #expect(pauses == [100, 200, 400, 800, 1_000, 1_000])
    }

    @Test func nothingFollowsTheEnd() {
        var machine = LinkStateMachine()
        #expect(machine.start() == .connect)
        #expect(machine.stop() == .close)
        #expect(machine.connected() == .close)
        #expect(machine.lost(jitter: 0) == .nothing)
        #expect(machine.pauseIsOver() == .nothing)
        #expect(machine.letIn() == .nothing)
    }
}

@Suite struct SubscriptionBookTests {
    private func flow(_ name: String) throws -> FlowID { try #require(FlowID(name)) }

    @Test func everythingIsAskedForAnewAfterALoss() throws {
        let (a, b) = (try self.flow("a"), try self.flow("b"))
        var book = SubscriptionTracker()
        #expect(book.want(a) == .pending)
        #expect((book.isComplete) == false)
        #expect(book.connected() == [a])
        #expect(book.want(b) == .ask)
        #expect((book.confirm(a)) == true)
        #expect((book.isComplete) == true)
        #expect((book.confirm(b)) == true)
        #expect((book.confirm(b)) == false)
        #expect((book.isComplete) == true)
        #expect(book.want(b) == .confirmed)
        #expect(book.want(try self.flow("c")) == .ask)
        #expect(book.isComplete == true, "who comes later does not make it incomplete")
        book.lost()
        #expect((book.isComplete) == false)
        #expect(try Set(book.connected()) == [a, b, self.flow("c")])
        #expect((book.isComplete) == false)
    }

    @Test func aFlowThatNobodyWatchesStaysForAWhile() throws {
        let a = try self.flow("a")
        var book = SubscriptionTracker()
        _ = book.connected()
        #expect(book.want(a) == .ask)
        book.leave(a, at: 0)
        #expect(book.giveUp(at: 60_000) == [], "its confirmation is still to come")
        #expect((book.confirm(a)) == false, "nobody waits for it")
        #expect(book.want(a) == .confirmed)
        book.leave(a, at: 60_000)
        #expect(book.giveUp(at: 69_999) == [])
        #expect(book.giveUp(at: 70_000) == [a])
        #expect(book.want(a) == .ask)
        book.leave(a, at: 70_001)
        book.lost()
        #expect(book.giveUp(at: 90_000) == [a], "nobody will confirm it")
        #expect(book.count == 0)
        #expect(book.connected() == [])
    }
}

@Suite struct CanaryTests {
    @Test func silenceThoughTheServerTookWhatWasSentReplacesTheConnection() {
        var canary = Canary(blindAfter: 3_000)
        #expect(canary.look(at: 0) == .fine)
        canary.began(at: 1_000)
        let first = canary.next(at: 1_000)
        canary.taken(first, at: 1_001)
        #expect(canary.isDelivering == false)
        #expect((canary.heard(first, at: 1_002)) == true)
        #expect(canary.lag == 2)
        let second = canary.next(at: 2_000)
        #expect((canary.heard(second, at: 2_002)) == false)
        // The server's word on the one that has come already.
        canary.taken(second, at: 2_003)
        for moment in [3_000, 4_000] as [Int64] {
            canary.taken(canary.next(at: moment), at: moment)
            #expect(canary.look(at: moment) == .fine)
        }
        #expect(canary.look(at: 5_002) == .replace)
        #expect(canary.isDelivering == false)
        canary.lost()
        #expect(canary.look(at: 60_000) == .fine, "there is no connection to look after")
        canary.began(at: 60_000)
        #expect(canary.look(at: 62_999) == .fine, "a fresh one is given time")
    }

    @Test func whoCannotSendDoesNotBlameTheOtherConnection() {
        var canary = Canary(blindAfter: 3_000)
        canary.began(at: 0)
        let first = canary.next(at: 0)
        _ = canary.heard(first, at: 1)
        #expect(canary.look(at: 3_001) == .blind)
        canary.taken(canary.next(at: 3_400), at: 3_500)
        #expect(canary.look(at: 4_000) == .blind, "what was taken just now may still come")
        #expect(canary.look(at: 5_000) == .replace)
    }

    @Test func onlyWhatWasSentCounts() {
        var canary = Canary(blindAfter: 3_000)
        let early = canary.next(at: 0)
        #expect((canary.heard(early, at: 1)) == false, "there is nothing yet that it could show")
        canary.began(at: 10)
        for number in [0, 99, UInt64.max] { #expect((canary.heard(number, at: 11)) == false) }
        #expect(canary.isDelivering == false)
        let late = canary.next(at: 20)
        canary.muted()
        #expect((canary.heard(late, at: 21)) == false, "nothing can be sent any more")
        #expect(canary.isDelivering == false)
        let next = canary.next(at: 30)
        #expect((canary.heard(next, at: 31)) == true)
        #expect((canary.heard(next, at: 32)) == false)
    }
}
