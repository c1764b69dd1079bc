import FlowCore
import Testing

extension RecordStoreContract {
    static let moving: [Case] = [
        Case("a move to an object keeps only the sample rows") { subject in
            let records = try numbered(2_500)
            let stored = try await subject.storedRows(records)
            let claim = try await subject.claim(stored.id).claim
            let digest = try await subject.records.digest(of: stored.id)
            let moved = result(records, hasObject: true)
            #expect(
                try await subject.records.switchToObject(
                    stored.id, claim: claim, location: "imports/7/x", provider: "r2", expecting: digest, moved))
            var expected = stored
            expected.provider = "r2"
            expected.location = "imports/7/x"
            expected.storage = moved.storage
            expected.claim = claim
            #expect(try await subject.ledger.load(stored.id) == expected)
            #expect(try await subject.ledger.index(of: stored.id) == moved.index)
            #expect(try await subject.ledger.samples(of: stored.id) == Array(records[..<10]))
            #expect(try await subject.rowCount(stored.id) == 10)
            #expect(try await subject.ledger.isReferenced("imports/7/x"))
        },
        Case("a move to rows requires every record and ends with the records in rows") { subject in
            let records = try numbered(2_500)
            let stored = try await subject.storedObject(try subject.draft(location: "l"), records: 2_500)
            let claim = try await subject.claim(stored.id).claim
            #expect(
                try await subject.records.append(Array(records[10..<2_000]), at: 10, to: stored.id, account: "7", claim: claim))
            // Rejected: rows are missing, or the count differs from the rows or from the result.
            #expect(try await subject.records.switchToRows(stored.id, claim: claim, count: 2_500, result(records)) == false)
            #expect(
                try await subject.records.append(Array(records[2_000...]), at: 2_000, to: stored.id, account: "7", claim: claim))
            #expect(
                try await subject.records.switchToRows(stored.id, claim: claim, count: 2_499, result(Array(records[..<2_499])))
                    == false
            )
            #expect(try await subject.records.switchToRows(stored.id, claim: claim, count: 2_499, result(records)) == false)
            let before = try #require(try await subject.ledger.load(stored.id))
            #expect(before.location == "l")
            #expect(before.claimedUntil != nil)
            #expect(try await subject.records.switchToRows(stored.id, claim: claim, count: 2_500, result(records)))
            let after = try #require(try await subject.ledger.load(stored.id))
            #expect(after.location == nil)
            #expect(after.provider == subject.records.provider)
            #expect(after.storage == result(records).storage)
            #expect(after.claimedUntil == nil)
            #expect(after.status == .stored)
            #expect(try await subject.ledger.index(of: stored.id) == nil)
            #expect(try await subject.ledger.samples(of: stored.id) == Array(records[..<10]))
            #expect(try await subject.records.records(of: stored.id, offset: 0, limit: 5_000) == records)
        },
        Case("an abandoned move to rows keeps the samples, and the next one continues after them") { subject in
            let records = try numbered(100)
            let stored = try await subject.storedObject(try subject.draft(location: "l"), records: 100)
            let first = try await subject.claim(stored.id, seconds: 0).claim
            #expect(try await subject.records.append(Array(records[10..<60]), at: 10, to: stored.id, account: "7", claim: first))
            let second = try await subject.claim(stored.id).claim
            #expect(
                try await subject.records.append(Array(records[60...]), at: 60, to: stored.id, account: "7", claim: first)
                    == false)
            #expect(try await subject.records.removeRecords(of: stored.id, claim: second))
            #expect(try await subject.rowCount(stored.id) == 10)
            #expect(try await subject.records.append(Array(records[10...]), at: 10, to: stored.id, account: "7", claim: second))
            #expect(try await subject.records.switchToRows(stored.id, claim: second, count: 100, result(records)))
            #expect(try await subject.records.records(of: stored.id, offset: 0, limit: 500) == records)
        },
        Case("a move to an object is rejected if a row was added, removed or changed since it was read") { subject in
            for change in 0..<4 {
                let records = try numbered(100)
                let stored = try await subject.storedRows(records)
                let claim = try await subject.claim(stored.id).claim
                let digest = try await subject.records.digest(of: stored.id)
                switch change {
                case 0:
                    #expect(
                        try await subject.records.append(try numbered(1), at: 100, to: stored.id, account: "7", claim: claim))
                case 1: try await subject.tamper(.change(50, #"{"n":51}"#), stored.id)
                // A sample row.
                case 2: try await subject.tamper(.change(3, #"{"n":4}"#), stored.id)
                default: try await subject.tamper(.remove(99), stored.id)
                }
                let before = try #require(try await subject.ledger.load(stored.id))
                let rows = try await subject.records.records(of: stored.id, offset: 0, limit: 500)
                #expect(rows != records)
                #expect(
                    try await subject.records.switchToObject(
                        stored.id, claim: claim, location: "l", provider: "r2", expecting: digest,
                        result(records, hasObject: true))
                        == false)
                #expect(try await subject.ledger.load(stored.id) == before)
                #expect(try await subject.records.records(of: stored.id, offset: 0, limit: 500) == rows)
            }
        },
        Case("a move to an object is rejected if the object does not contain all rows") { subject in
            let stored = try await subject.storedRows(try numbered(100))
            let claim = try await subject.claim(stored.id).claim
            let digest = try await subject.records.digest(of: stored.id)
            let less = result(try numbered(99), hasObject: true)
            #expect(
                try await subject.records.switchToObject(
                    stored.id, claim: claim, location: "l", provider: "r2", expecting: digest, less) == false)
            #expect(try await subject.rowCount(stored.id) == 100)
        },
        Case("rows are counted, and are whole only if they certainly are all records") { subject in
            let stored = try await subject.storedRows(try numbered(25))
            let counts = RowCounts(rows: 25, samples: 10, numbered: 25, isContiguous: true)
            #expect(try await subject.records.rowCounts(of: stored.id) == counts)
            #expect(counts.isWhole(25) && counts.isWhole(nil) && !counts.isWhole(26))
            let object = try await subject.storedObject(try subject.draft(location: "l"), records: 25)
            let samples = RowCounts(rows: 10, samples: 10, numbered: 10, isContiguous: true)
            #expect(try await subject.records.rowCounts(of: object.id) == samples)
            #expect(samples.isWhole(10) && !samples.isWhole(25) && !samples.isWhole(nil))
            #expect(samples.isIncomplete(25, isCounted: false) && !samples.isIncomplete(nil, isCounted: true))
            try await subject.tamper(.remove(3), stored.id)
            let gap = RowCounts(rows: 24, samples: 9, numbered: 24, isContiguous: false)
            #expect(try await subject.records.rowCounts(of: stored.id) == gap)
            #expect(!gap.isWhole(24) && gap.isIncomplete(25, isCounted: true) && !gap.isIncomplete(25, isCounted: false))
            #expect(
                try await subject.records.rowCounts(of: .random())
                    == RowCounts(rows: 0, samples: 0, numbered: 0, isContiguous: true))
        },
        Case("a correction replaces the storage in the ledger only under its claim and the expected location") { subject in
            let records = try numbered(25)
            let stored = try await subject.storedRows(records)
            let claim = try await subject.claim(stored.id).claim
            let corrected = result(records, hasObject: true)
            let before = try #require(try await subject.ledger.load(stored.id))
            for (number, location) in [(claim - 1, nil as String?), (claim, "other")] {
                #expect(
                    try await subject.ledger.correct(
                        stored.id, claim: number, from: location, to: "l", provider: "r2", corrected) == false)
            }
            #expect(try await subject.ledger.load(stored.id) == before)
            #expect(
                try await subject.ledger.correct(stored.id, claim: claim, from: nil, to: "l", provider: "r2", corrected))
            let after = try #require(try await subject.ledger.load(stored.id))
            #expect(after.location == "l" && after.provider == "r2" && after.storage == corrected.storage)
            #expect(after.claimedUntil == nil)
            #expect(try await subject.ledger.index(of: stored.id) == corrected.index)
            #expect(try await subject.rowCount(stored.id) == 25)
        },
        Case("a new claim sees every row added before, and the old claim adds none after") { subject in
            for _ in 0..<TestScale.pick(3, full: 30) {
                let begun = try await subject.begin(try subject.draft(provider: subject.records.provider), claimSeconds: 0)
                let added = AsyncValue(0)
                let (counted, claim) = try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        let batch = try numbered(200)
                        while try await subject.records.append(
                            batch, at: added.value, to: begun.id, account: "7", claim: 1)
                        {
                            added.change { $0 += 200 }
                        }
                    }
                    _ = try await added.wait(for: "1,000 rows") { $0 >= 1_000 ? $0 : nil }
                    let claim = try await subject.claim(begun.id).claim
                    let counted = try await subject.rowCount(begun.id)
                    try await group.waitForAll()
                    return (counted, claim)
                }
                #expect(claim == 2)
                #expect(counted == added.value)
                #expect(try await subject.rowCount(begun.id) == counted)
            }
        },
    ]
}
