import FlowCore
import Testing

extension FlowStoreContract {
    /// What an account stores, counted from its flows and events.
    private static func recount(_ store: any Store, _ account: String) async throws -> AccountUsage {
        var usage = AccountUsage()
        let heads = try await store.list(FlowQuery(account: account, includesDeleted: true, limit: 1_000)).flows
        for head in heads {
            let record = try #require(try await store.load(head.flow))
            usage.ids += 1
            if !record.head.isDeleted { usage.flows += 1 }
            usage.stateBytes += record.storedBytes
            usage.historyBytes += try await store.allEvents(of: head.flow).reduce(0) { $0 + $1.storedBytes }
        }
        usage.revocations = try await store.revocations().count { $0.account == account }
        return usage
    }

    private static func expectExact(_ store: any Store, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for account in ["1", "2"] {
            let expected = try await Self.recount(store, account)
            #expect(try await store.usage(of: account) == expected, "account \(account)", sourceLocation: sourceLocation)
        }
    }

    static let accounts: [Case] = [
        Case("counts what accounts store exactly, through changes, deletion, pruning and reopening") { subject in
            let store = subject.store
            #expect(try await store.usage(of: "1") == AccountUsage())
            for number in 0..<6 {
                _ = try await store.patch(try flow("a\(number)"), #"{"n":"ä\u0000","list":[1,2,3]}"#)
                let long = "\"\(String(repeating: "y", count: 3_000))\""
                _ = try await store.publish(try flow("b\(number)"), ["1", long], account: "2")
            }
            _ = try await store.replace(try flow("a0"), "{}")
            _ = try await store.delete(try flow("a1"))
            _ = try await store.delete(try flow("a2"))
            _ = try await store.patch(try flow("a2"), #"{"again":true}"#)
            _ = try await store.patch(try flow("a3"), #"{"n":1}"#, account: "2")
            _ = try await store.patch(try flow("a4"), #"{"n":1}"#, fencing: .init(resource: "r", token: 3))
            for subject in ["s", "t"] {
                _ = try await store.revoke(Revocation(account: "1", subject: subject, notBefore: 5), now: start)
            }
            _ = try await store.revoke(Revocation(account: "1", subject: "s", notBefore: 6), now: start)
            try await Self.expectExact(store)
            let highest = try await store.highestUsage()
            #expect(highest.flows == 6 && highest.revocations == 2)
            #expect(try await highest.historyBytes == store.usage(of: "2").historyBytes)

            var policy = RetentionPolicy()
            policy.historyEvents = 1
            policy.batch = 3
            _ = try await Self.prune(store, policy, now: start)
            try await Self.expectExact(store)
            policy.historySeconds = 10
            policy.tombstoneSeconds = 20
            policy.revocationSeconds = 50
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 100))
            try await Self.expectExact(store)
            let usage = try await store.usage(of: "1")
            #expect(usage.flows == 5 && usage.ids == 5 && usage.historyBytes == 0 && usage.revocations == 0)
            let again = try await subject.reopen()
            _ = try await Self.prune(again, policy, now: start.advanced(bySeconds: 100))
            #expect(try await again.usage(of: "1") == usage)
            try await Self.expectExact(again)
        },
        Case("concurrent changes are counted exactly") { subject in
            let store = subject.store
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        let id = try flow("f\(number % 9)")
                        let account = number % 9 < 5 ? "1" : "2"
                        switch number % 5 {
                        case 0: _ = try await store.delete(id, account: account)
                        case 1: _ = try await store.publish(id, ["1", "2"], account: account)
                        default: _ = try await store.patch(id, "{\"n\":\(number)}", account: account)
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await Self.expectExact(store)
        },
        Case("a change above a limit is rejected and changes nothing, and deletion gives room") { subject in
            var limits = AccountLimits()
            limits.flows = 2
            limits.ids = 4
            limits.revocations = 1
            let store = try await subject.reopen(limits)
            let (a, b, c, d, e) = (try flow("a"), try flow("b"), try flow("c"), try flow("d"), try flow("e"))
            let full = FlowOutcome.Rejection.accountLimit(.flows, limit: 2)
            for id in [a, b] { #expect(try await store.patch(id, #"{"n":1}"#).isCreated) }
            let before = try await store.usage(of: "1")
            #expect(try await store.patch(c, #"{"n":1}"#).rejection == full)
            #expect(try await store.publish(c, ["1"]).rejection == full)
            #expect(try await store.usage(of: "1") == before)
            #expect(try await store.load(c) == nil)
            // Flows that exist change as before, and another account has its own limit.
            #expect(try await store.patch(a, #"{"n":2}"#).record?.version == 2)
            #expect(try await store.patch(c, #"{"n":1}"#, account: "2").isCreated)
            _ = try await store.delete(a)
            #expect(try await store.patch(d, "{}").isCreated)
            _ = try await store.delete(b)
            #expect(try await store.patch(e, "{}").isCreated)
            _ = try await store.delete(d)
            // Four ids are reserved: the own deleted ones can be used again, a new one cannot.
            #expect(try await store.patch(try flow("f"), "{}").rejection == .accountLimit(.ids, limit: 4))
            #expect(try await store.patch(b, "{}").isCreated)
            _ = try await store.delete(b)
            var policy = RetentionPolicy()
            policy.historySeconds = 1
            policy.tombstoneSeconds = 1
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 10))
            #expect(try await store.usage(of: "1").ids == 1)
            #expect(try await store.patch(try flow("f"), "{}").isCreated)

            for (subject, outcome) in [("s", true), ("t", false), ("s", true)] {
                let stored = try await store.revoke(Revocation(account: "1", subject: subject, notBefore: 9), now: start)
                #expect(stored == (outcome ? .stored(Revocation(account: "1", subject: "s", notBefore: 9)) : .limitReached(1)))
            }
        },
        Case("limits of bytes reject growth only") { subject in
            let long = String(repeating: "x", count: 400)
            var limits = AccountLimits()
            limits.stateBytes = 1_000
            limits.historyBytes = 4_000
            let store = try await subject.reopen(limits)
            let (a, b) = (try flow("a"), try flow("b"))
            #expect(try await store.replace(a, "{\"s\":\"\(long)\"}").isCreated)
            #expect(try await store.replace(b, "{\"s\":\"\(long)\"}").isCreated)
            let states = FlowOutcome.Rejection.accountLimit(.states, limit: 1_000)
            #expect(try await store.patch(a, "{\"t\":\"\(long)\"}").rejection == states)
            #expect(try await store.replace(a, #"{"s":1}"#).record?.version == 2)
            #expect(try await store.patch(b, "{\"t\":\"\(long)\"}").record?.version == 2)
            let history = FlowOutcome.Rejection.accountLimit(.history, limit: 4_000)
            var published = 0
            while try await store.publish(a, ["\"\(long)\""]).rejection == nil { published += 1 }
            #expect(published == 4)
            #expect(try await store.publish(a, ["\"\(long)\""]).rejection == history)
            #expect(try await store.usage(of: "1").historyBytes <= 4_000)
            #expect(try await store.delete(b).record?.head.isDeleted == true, "a deletion is never rejected")
            var policy = RetentionPolicy()
            policy.historyEvents = 1
            _ = try await Self.prune(store, policy, now: start)
            #expect(try await store.publish(a, ["\"\(long)\""]).rejection == nil)
        },
        Case("a tombstone ends after its time, and its id continues above its version for any account") { subject in
            let store = subject.store
            let (a, other) = (try flow("a"), try flow("other"))
            for number in 1...4 { _ = try await store.patch(a, "{\"n\":\(number)}") }
            _ = try await store.delete(a)
            _ = try await store.patch(other, #"{"n":1}"#)
            var policy = RetentionPolicy()
            policy.historySeconds = 50
            policy.tombstoneSeconds = 100
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 100))
            #expect(try await store.load(a)?.version == 5, "exactly at its end it still exists")
            #expect(try await store.patch(a, "{}", account: "2").rejection == .otherAccount)
            policy.tombstoneSeconds = 0
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 9_999))
            #expect(try await store.load(a)?.version == 5)
            policy.tombstoneSeconds = 100
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 101))
            #expect(try await store.load(a) == nil)
            #expect(try await store.load(other)?.version == 1)
            #expect(try await store.page(of: a, after: 0, limit: PageLimit()).head == nil)
            #expect(try await store.patch(a, #"{"n":1}"#, if: .exists).rejection == .preconditionFailed(0))
            let epoch = store.epoch
            let created = try await store.patch(a, #"{"n":9}"#, account: "2")
            #expect(created.isCreated && created.record?.version == 6 && created.record?.head.resetVersion == 6)
            #expect(store.epoch == epoch)
            let events = try await store.allEvents(of: a)
            #expect(events.map(\.version) == [6])
            #expect(events.first?.payload.member("replace")?.boolValue == true)
            _ = try await store.delete(a, account: "2")
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 300))
            let reopened = try await subject.reopen()
            let published = try await reopened.publish(a, ["1"])
            #expect(published.record?.version == 8 && published.record?.head.resetVersion == 8)
        },
        Case("a tombstone with history stays until its last event is pruned") { subject in
            let store = subject.store
            let a = try flow("a")
            _ = try await store.patch(a, "{}")
            _ = try await store.delete(a)
            var policy = RetentionPolicy()
            policy.historySeconds = 1_000
            policy.tombstoneSeconds = 1
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 500))
            #expect(try await store.load(a)?.version == 2)
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 1_001))
            #expect(try await store.load(a) == nil)
        },
        Case("a tombstone starts anew if its flow was created and deleted again, also in one batch") { subject in
            let store = subject.store
            let flows = try (0..<20).map { try flow("f\($0)") }
            for id in flows {
                _ = try await store.patch(id, "{}")
                _ = try await store.delete(id)
            }
            let later = start.advanced(bySeconds: 50)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for id in flows {
                    group.addTask { _ = try await store.patch(id, "{}", at: later) }
                    group.addTask { _ = try await store.delete(id, at: later) }
                }
                try await group.waitForAll()
            }
            var policy = RetentionPolicy()
            policy.historySeconds = 10
            policy.tombstoneSeconds = 60
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 100))
            // A flow exists or was deleted 50 s ago, whichever of its two changes came last.
            for id in flows { #expect(try await store.load(id) != nil) }
        },
        Case("a flow is restored only above the version of an ended tombstone") { subject in
            let store = subject.store
            let a = try flow("a")
            for number in 1...4 { _ = try await store.patch(a, "{\"n\":\(number)}") }
            var archived = try #require(try await store.exportFlows(after: nil, limit: 10).first)
            _ = try await store.delete(a)
            #expect(try await store.restore(archived, events: []) == .conflictingVersion(5))
            var policy = RetentionPolicy()
            policy.historySeconds = 50
            policy.tombstoneSeconds = 100
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 101))
            for version in [Version(4), 5] {
                archived.record.head.version = version
                #expect(try await store.restore(archived, events: []) == .conflictingVersion(5))
                #expect(try await store.load(a) == nil)
            }
            archived.record.head.version = 6
            #expect(try await store.restore(archived, events: []) == .restored)
            #expect(try await store.patch(a, #"{"n":9}"#).record?.version == 7)
        },
        Case("revocations are pruned after their time") { subject in
            let store = subject.store
            for (name, notBefore, storedAt) in [("old", Int64(100), Int64(100)), ("new", 101, 100), ("late", 5, 101)] {
                _ = try await store.revoke(
                    Revocation(account: "1", subject: name, notBefore: notBefore), now: Timestamp(milliseconds: storedAt * 1_000))
            }
            var policy = RetentionPolicy()
            _ = try await Self.prune(store, policy, now: Timestamp(milliseconds: 9_999_000))
            #expect(try await store.revocations().count == 3, "without a limit of tokens' lifetimes they are kept for ever")
            policy.revocationSeconds = 50
            _ = try await Self.prune(store, policy, now: Timestamp(milliseconds: 151_000))
            #expect(try await store.revocations().map(\.subject) == ["late", "new"])
            _ = try await Self.prune(store, policy, now: Timestamp(milliseconds: 152_000))
            #expect(try await store.revocations().isEmpty)
        },
        Case("a revocation of all subjects is possible at the limit, and takes the place of those that it covers") { subject in
            var limits = AccountLimits()
            limits.revocations = 3
            let store = try await subject.reopen(limits)
            for (name, notBefore) in [("a", Int64(5)), ("b", 6), ("c", 7)] {
                _ = try await store.revoke(Revocation(account: "1", subject: name, notBefore: notBefore), now: start)
            }
            _ = try await store.revoke(Revocation(account: "2", subject: "a", notBefore: 5), now: start)
            let next = Revocation(account: "1", subject: "d", notBefore: 8)
            #expect(try await store.revoke(next, now: start) == .limitReached(3))
            let all = Revocation(account: "1", subject: Revocation.allSubjects, notBefore: 6)
            #expect(try await store.revoke(all, now: start) == .stored(all))
            #expect(try await store.usage(of: "1").revocations == 2)
            #expect(try await store.revoke(next, now: start) == .stored(next))
            let kept = Set(try await store.revocations())
            let others = [
                Revocation(account: "1", subject: "c", notBefore: 7), Revocation(account: "2", subject: "a", notBefore: 5),
            ]
            #expect(kept == Set(others + [all, next]))
            // The later time stays.
            let earlier = Revocation(account: "1", subject: Revocation.allSubjects, notBefore: 1)
            #expect(try await store.revoke(earlier, now: start) == .stored(all))
        },
        Case("the first version of a flow does not tell whether its id was used before") { subject in
            let store = subject.store
            var policy = RetentionPolicy()
            policy.historySeconds = 50
            policy.tombstoneSeconds = 100
            for (name, count) in [("a", 4), ("b", 2)] {
                for number in 1...count { _ = try await store.patch(try flow(name), "{\"n\":\(number)}") }
                _ = try await store.delete(try flow(name))
            }
            #expect(try await store.patch(try flow("before"), "{}").record?.version == 1)
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 101))
            // All ids start above the highest version of those that are free again.
            for name in ["a", "b"] + (0..<20).map({ "never-used-\($0)" }) {
                #expect(try await store.patch(try flow(name), "{}", account: "2").record?.version == 6, "\(name)")
            }
        },
    ]
}
