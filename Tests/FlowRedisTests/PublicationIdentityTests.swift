import Testing

@testable import FlowRedis

@Suite struct PublicationIdentityTests {
    private static func heard(_ digest: String, _ identity: inout PublicationIdentity) -> String? {
        identity.heard(digest: digest)?.identity
    }

    @Test func distinguishesEqualPublicationsAndCountsTheSameAtEveryListener() {
        var early = PublicationIdentity()
        #expect(Self.heard("a", &early) == nil && !early.isMarked)
        early.heard(mark: "m")
        var late = PublicationIdentity()
        late.heard(mark: "m")
        var identities: Set<String> = []
        for digest in ["a", "b", "a", "a", "b"] {
            let identity = Self.heard(digest, &early)
            #expect(identity != nil && identity == Self.heard(digest, &late))
            #expect(identities.insert(identity ?? "").inserted)
        }
        // A third instance joins and publishes a mark: from then on all three agree.
        var third = PublicationIdentity()
        early.heard(mark: "n")
        late.heard(mark: "n")
        third.heard(mark: "n")
        for digest in ["a", "a", "c"] {
            let identity = Self.heard(digest, &third)
            #expect(identity == Self.heard(digest, &early) && identity == Self.heard(digest, &late))
            #expect(identities.insert(identity ?? "").inserted)
        }
        late.lost()
        #expect(!late.isMarked && Self.heard("a", &late) == nil)
    }

    @Test func asksForMarkBeforeCountsGrow() {
        var identity = PublicationIdentity()
        identity.heard(mark: "m")
        var due: [Int] = []
        for number in 1...3 * PublicationIdentity.messagesPerMark where identity.heard(digest: "\(number)")?.isMarkDue == true {
            due.append(number)
        }
        #expect(due == [1, 2, 3].map { $0 * PublicationIdentity.messagesPerMark })
        // Repeated messages do not grow the counts.
        #expect(identity.heard(digest: "1")?.isMarkDue == false)
        // Without a mark, the counts stop to grow, and a new message is still applied once.
        for number in 1...70_000 { _ = identity.heard(digest: "x\(number)") }
        #expect(identity.heard(digest: "new")?.identity == "m.new.0" && identity.heard(digest: "new")?.isMarkDue == true)
    }
}
