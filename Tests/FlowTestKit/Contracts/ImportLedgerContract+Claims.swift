import FlowCore
import Testing

extension ImportLedgerContract {
    static let claims: [Case] = [
        Case("an import has one claim at a time, and claim numbers increase") { subject in
            let begun = try await subject.begin(try subject.draft())
            let all = Set(Import.Status.allCases)
            #expect(try await subject.ledger.claim(begun.id, from: all, to: nil, seconds: 60) == nil)
            #expect(try await subject.ledger.extend(begun.id, claim: 1, seconds: 0))
            #expect(try await subject.ledger.load(begun.id)?.claimedUntil == nil)
            let second = try await subject.claim(begun.id)
            #expect(second.claim == 2)
            #expect(second.status == .pending)
            #expect(second.claimedUntil != nil)
            #expect(try await subject.ledger.claim(begun.id, from: all, to: nil, seconds: 60) == nil)
            #expect(try await subject.ledger.claim(.random(), from: all, to: nil, seconds: 60) == nil)
        },
        Case("a claim requires an allowed status and can set another") { subject in
            let begun = try await subject.begin(try subject.draft(), claimSeconds: 0)
            #expect(try await subject.ledger.claim(begun.id, from: [.stored, .failed], to: nil, seconds: 60) == nil)
            #expect(try await subject.ledger.claim(begun.id, from: [], to: nil, seconds: 60) == nil)
            let claimed = try await subject.ledger.claim(begun.id, from: [.pending], to: .deleting, seconds: 60)
            #expect(claimed?.status == .deleting)
            #expect(try await subject.ledger.load(begun.id) == claimed)
        },
        Case("a claim can be extended, and is released with 0 seconds") { subject in
            let begun = try await subject.begin(try subject.draft())
            let until = try #require(begun.claimedUntil)
            #expect(try await subject.ledger.extend(begun.id, claim: 1, seconds: 600))
            let later = try #require(try await subject.ledger.load(begun.id)?.claimedUntil)
            #expect(later >= until.advanced(bySeconds: 500))
            #expect(try await subject.ledger.extend(begun.id, claim: 1, seconds: 0))
            // No other worker has claimed the import since.
            #expect(try await subject.ledger.extend(begun.id, claim: 1, seconds: 60))
            #expect(try await subject.ledger.claim(begun.id, from: [.pending], to: nil, seconds: 60) == nil)
        },
        Case("a claim expires") { subject in
            let begun = try await subject.begin(try subject.draft(), claimSeconds: 1)
            try await eventually("the claim to expire", every: .milliseconds(100)) {
                try await subject.ledger.claim(begun.id, from: [.pending], to: nil, seconds: 60) != nil
            }
        },
        Case("exactly one of many concurrent workers gets the claim") { subject in
            for _ in 0..<TestScale.pick(3, full: 20) {
                let begun = try await subject.begin(try subject.draft(), claimSeconds: 0)
                let claims: [Int64] = try await withThrowingTaskGroup(of: Import?.self) { group in
                    for _ in 0..<12 {
                        group.addTask { try await subject.ledger.claim(begun.id, from: [.pending], to: nil, seconds: 60) }
                    }
                    return try await group.reduce(into: [Int64]()) { if let claim = $1 { $0.append(claim.claim) } }
                }
                #expect(claims == [2])
            }
        },
        Case("an outdated claim cannot change anything") { subject in
            let records = try numbered(30)
            let stored = try await subject.storedRows(records)
            let digest = try await subject.records.digest(of: stored.id)
            _ = try await subject.claim(stored.id)
            let claimed = try await subject.claim(try await subject.begin(try subject.draft(), claimSeconds: 0).id)
            for before in [stored, claimed] {
                let now = try #require(try await subject.ledger.load(before.id))
                let (id, stale) = (now.id, now.claim - 1)
                #expect(try await subject.ledger.extend(id, claim: stale, seconds: 600) == false)
                #expect(try await subject.ledger.finish(id, claim: stale, result(records)) == false)
                #expect(try await subject.ledger.finish(id, claim: stale, result(records, hasObject: true)) == false)
                #expect(try await subject.ledger.fail(id, claim: stale, reason: "r") == false)
                #expect(try await subject.ledger.remove(id, claim: stale) == false)
                #expect(try await subject.records.append(records, at: 30, to: id, account: "7", claim: stale) == false)
                #expect(try await subject.records.removeRecords(of: id, claim: stale) == false)
                #expect(
                    try await subject.records.switchToObject(
                        id, claim: stale, location: "l", provider: "r2", expecting: digest, result(records, hasObject: true))
                        == false)
                #expect(try await subject.records.switchToRows(id, claim: stale, count: 30, result(records)) == false)
                #expect(try await subject.ledger.load(id) == now)
            }
            #expect(try await subject.records.digest(of: stored.id) == digest)
            #expect(try await subject.rowCount(claimed.id) == 0)
        },
        Case("rows of another account are rejected") { subject in
            let begun = try await subject.begin(try subject.draft(provider: subject.records.provider))
            #expect(try await subject.records.append(try numbered(1), at: 0, to: begun.id, account: "8", claim: 1) == false)
            #expect(try await subject.rowCount(begun.id) == 0)
        },
    ]

    static let ending: [Case] = [
        Case("a finished import is stored completely, and its claim is released") { subject in
            let records = try numbered(25)
            let begun = try await subject.begin(try subject.draft(key: "k", location: "l"))
            var done = result(records, hasObject: true)
            done.fieldSummary = try json(#"{"b\u0000":{"avg":1.50,"avg":1e-99999},"a":[]}"#)
            #expect(try await subject.ledger.finish(begun.id, claim: 1, done))
            let stored = try #require(try await subject.ledger.load(begun.id))
            var expected = begun
            expected.status = .stored
            expected.totalRecords = 25
            expected.fieldSummary = done.fieldSummary
            expected.storage = done.storage
            expected.requestHash = "e1"
            expected.claimedUntil = nil
            #expect(stored == expected)
            #expect(try await subject.ledger.index(of: begun.id) == done.index)
            #expect(try await subject.ledger.samples(of: begun.id) == Array(records[..<10]))
            // A worker that does not know the outcome repeats the call.
            #expect(try await subject.ledger.finish(begun.id, claim: 1, done))
            #expect(try await subject.ledger.load(begun.id) == stored)
            #expect(try await subject.rowCount(begun.id) == 10)
            #expect(try await subject.ledger.claim(begun.id, from: [.stored], to: nil, seconds: 1) != nil)
        },
        Case("a failed import keeps its reason, but no rows, object or key") { subject in
            let begun = try await subject.begin(try subject.draft(key: "k", location: "l"))
            #expect(try await subject.records.append(try numbered(50), at: 0, to: begun.id, account: "7", claim: 1))
            #expect(try await subject.ledger.fail(begun.id, claim: 1, reason: "line 3: no JSON"))
            var expected = begun
            expected.status = .failed
            expected.failure = "line 3: no JSON"
            expected.location = nil
            expected.idempotencyKey = nil
            expected.claimedUntil = nil
            #expect(try await subject.ledger.load(begun.id) == expected)
            #expect(try await subject.rowCount(begun.id) == 0)
            #expect(try await subject.ledger.isReferenced("l") == false)
            #expect(try await subject.ledger.fail(begun.id, claim: 1, reason: "line 3: no JSON"))
        },
        Case("a stored import cannot fail") { subject in
            let stored = try await subject.storedRows(try numbered(20))
            #expect(try await subject.ledger.fail(stored.id, claim: 1, reason: "r") == false)
            #expect(try await subject.ledger.load(stored.id) == stored)
            #expect(try await subject.rowCount(stored.id) == 20)
        },
        Case("removing an import deletes all its rows") { subject in
            let stored = try await subject.storedRows(try numbered(TestScale.pick(3_000, full: 50_000)))
            let claimed = try await subject.claim(stored.id, to: .deleting)
            #expect(try await subject.ledger.remove(stored.id, claim: claimed.claim))
            #expect(try await subject.ledger.load(stored.id) == nil)
            #expect(try await subject.rowCount(stored.id) == 0)
            #expect(try await subject.ledger.remove(stored.id, claim: claimed.claim) == false)
        },
    ]
}
