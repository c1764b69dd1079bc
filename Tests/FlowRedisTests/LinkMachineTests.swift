import FlowCore
import Testing

@testable import FlowRedis

@Suite struct LinkMachineTests {
    @Test func theFirstTryAfterALossIsImmediateAndThePausesDouble() {
        var machine = LinkMachine()
        #expect(machine.start() == .connect)
        #expect(machine.start() == .nothing)
        #expect(machine.connected() == .greet)
        #expect(machine.letIn() == .announce)
        #expect(machine.isReady == true)
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
        #expect(machine.lost(jitter: 0) == .connect)
    }

    @Test func nothingFollowsTheEnd() {
        var machine = LinkMachine()
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
        var book = SubscriptionBook()
        #expect(book.want(a) == .pending)
        #expect((book.isComplete) == false)
        #expect(book.connected() == [a])
        #expect(book.want(b) == .ask)
        #expect((book.confirm(a)) == true)
        #expect((book.isComplete) == false)
        #expect((book.confirm(b)) == true)
        #expect((book.confirm(b)) == false)
        #expect((book.isComplete) == true)
        #expect(book.want(b) == .confirmed)
        book.lost()
        #expect((book.isComplete) == false)
        #expect(Set(book.connected()) == [a, b])
        #expect((book.isComplete) == false)
    }

    @Test func aFlowThatNobodyWatchesStaysForAWhile() throws {
        let a = try self.flow("a")
        var book = SubscriptionBook()
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
        #expect(book.connected() == [])
    }
}

@Suite struct CanaryTests {
    @Test func silenceThoughTheServerTookWhatWasSentReplacesTheConnection() {
        var canary = Canary(blindAfter: 3_000)
        #expect(canary.look(at: 0) == .fine)
        canary.began(at: 1_000)
        canary.taken(at: 1_001)
        #expect((canary.isDelivering) == false)
        #expect((canary.heard(sentAt: 1_000, at: 1_002)) == true)
        #expect(canary.lag == 2)
        #expect((canary.heard(sentAt: 2_000, at: 2_002)) == false)
        for second in 3...4 {
            canary.taken(at: Int64(second) * 1_000)
            #expect(canary.look(at: Int64(second) * 1_000) == .fine)
        }
        #expect(canary.look(at: 5_002) == .replace)
        #expect((canary.isDelivering) == false)
        canary.lost()
        #expect(canary.look(at: 60_000) == .fine, "there is no connection to look after")
        canary.began(at: 60_000)
        #expect(canary.look(at: 62_999) == .fine, "a fresh one is given time")
    }

    @Test func whoCannotSendDoesNotBlameTheOtherConnection() {
        var canary = Canary(blindAfter: 3_000)
        canary.began(at: 0)
        _ = canary.heard(sentAt: 0, at: 1)
        #expect(canary.look(at: 3_001) == .blind)
        canary.taken(at: 3_500)
        #expect(canary.look(at: 4_000) == .blind, "what was taken just now may still come")
        #expect(canary.look(at: 5_000) == .replace)
    }
}
