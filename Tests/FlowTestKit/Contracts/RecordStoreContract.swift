import FlowCore
import Testing

/// Contract tests that every ``RecordStore`` passes, together with its ledger.
public enum RecordStoreContract {
    public typealias Subject = ImportLedgerContract.Subject
    public typealias Case = ContractCase<Subject>

    public static let cases: [Case] = Self.reading + Self.integrity + Self.moving

    /// Records that a database's JSON type may alter: escapes, number tokens, the order of members, duplicate members.
    static let awkward = [
        #"{"z":1,"a":2}"#, #"{"a":1,"a":2}"#, #"{"a":"\u0000"}"#, #"{"\u0000":"\\u0000"}"#, #"{"n":1e308}"#,
        #"{"n":-1E-0200000}"#,
        #"{"n":1.0,"m":10000000000000000000000000000001}"#, #"{"s":"\/\u00e4 \ud83d\ude00 4e12345"}"#, "null", "[]", "0", #""""#,
        #"{"d":"\#(String(repeating: "x", count: 5_000))"}"#,
    ]

    static let reading: [Case] = [
        Case("records are returned byte for byte") { subject in
            let records = try Self.awkward.map { try json($0) }
            let stored = try await subject.storedRows(records)
            #expect(try await subject.records.records(of: stored.id, offset: 0, limit: 100) == records)
            #expect(try await subject.ledger.samples(of: stored.id) == Array(records.prefix(10)))
            #expect(stored.totalRecords == records.count)
            #expect(stored.provider == subject.records.provider)
            #expect(stored.location == nil)
        },
        Case("10,000 records are read in pages, by offset and sequentially") { subject in
            let records = try numbered(10_000)
            let stored = try await subject.storedRows(records)
            for (offset, limit) in [(0, 1), (0, 7), (9, 2), (4_321, 1_000), (9_990, 100), (9_999, 1)] {
                let expected = Array(records[offset..<min(offset + limit, records.count)])
                #expect(try await subject.records.records(of: stored.id, offset: offset, limit: limit) == expected)
            }
            #expect(try await subject.records.records(of: stored.id, offset: 10_000, limit: 10) == [])
            #expect(try await subject.records.records(of: .random(), offset: 0, limit: 10) == [])
            var seen: [JSONText] = []
            var bookmark: RecordBookmark?
            repeat {
                let page = try await subject.records.records(of: stored.id, after: bookmark, limit: 999)
                #expect(page.records.count <= 999)
                seen += page.records
                bookmark = page.next
            } while bookmark != nil
            #expect(seen == records)
            #expect(
                try await subject.records.records(of: .random(), after: nil, limit: 10) == RecordSlice(records: [], next: nil))
        },
        Case("a record page has at most about 1 MiB, or one record") { subject in
            var records = try numbered(2)
            // Random text, so that compression in the database saves little.
            var random = SeededRandom(seed: 1)
            for bytes in [300_000, 300_000, 300_000, 300_000, 3_000_000, 10, 10] {
                let text = (0..<bytes / 16).map { _ in String(random.next() | 1 << 63, radix: 16) }.joined()
                records.append(try json("\"\(text)\""))
            }
            let stored = try await subject.storedRows(records)
            var seen: [JSONText] = []
            while true {
                let page = try await subject.records.records(of: stored.id, offset: seen.count, limit: 1_000)
                guard !page.isEmpty else { break }
                let bytes = page.reduce(0) { $0 + $1.bytes.count }
                #expect(page.count == 1 || bytes < 1_200_000)
                seen += page
                if seen.count > records.count { break }
            }
            #expect(seen == records)
            var paged: [JSONText] = []
            var bookmark: RecordBookmark?
            repeat {
                let page = try await subject.records.records(of: stored.id, after: bookmark, limit: 1_000)
                #expect(page.records.count <= 1 || page.records.reduce(0) { $0 + $1.bytes.count } < 1_200_000)
                paged += page.records
                bookmark = page.next
            } while bookmark != nil
            #expect(paged == records)
        },
    ]

    static let integrity: [Case] = [
        Case("an import with missing or misnumbered rows cannot be finished") { subject in
            let records = try numbered(30)
            let begun = try await subject.begin(try subject.draft(provider: subject.records.provider))
            func finish() async throws -> Bool {
                try await subject.ledger.finish(begun.id, claim: 1, result(records))
            }
            await #expect(throws: StoreError.self) { try await finish() }
            #expect(try await subject.records.append(Array(records[..<20]), at: 0, to: begun.id, account: "7", claim: 1))
            await #expect(throws: StoreError.self) { try await finish() }
            // A gap: the row with number 20 is missing.
            #expect(try await subject.records.append(Array(records[20...]), at: 21, to: begun.id, account: "7", claim: 1))
            await #expect(throws: StoreError.self) { try await finish() }
            #expect(try await subject.ledger.load(begun.id) == begun)
            #expect(try await subject.ledger.samples(of: begun.id) == [])
            #expect(try await subject.records.removeRecords(of: begun.id, claim: 1))
            #expect(try await subject.records.append(records, at: 0, to: begun.id, account: "7", claim: 1))
            #expect(try await finish())
            #expect(try await subject.ledger.samples(of: begun.id) == Array(records[..<10]))
        },
        Case("imports with fewer records than samples are stored and moved") { subject in
            let none = try await subject.storedRows([])
            #expect(none.totalRecords == 0)
            #expect(try await subject.records.records(of: none.id, offset: 0, limit: 10) == [])
            let records = try numbered(3)
            let few = try await subject.storedRows(records)
            #expect(try await subject.ledger.samples(of: few.id) == records)
            for (stored, records) in [(none, []), (few, records)] {
                let claim = try await subject.claim(stored.id).claim
                let digest = try await subject.records.digest(of: stored.id)
                #expect(
                    try await subject.records.switchToObject(
                        stored.id, claim: claim, location: "l", provider: "r2", expecting: digest,
                        result(records, hasObject: true)))
                #expect(try await subject.rowCount(stored.id) == records.count)
                #expect(try await subject.records.switchToRows(stored.id, claim: claim, count: records.count, result(records)))
                #expect(try await subject.records.records(of: stored.id, offset: 0, limit: 10) == records)
            }
        },
        Case("removing the records keeps the samples") { subject in
            let records = try numbered(TestScale.pick(300, full: 50_000))
            let stored = try await subject.storedRows(records)
            let other = try await subject.storedRows(records)
            let claim = try await subject.claim(stored.id).claim
            #expect(try await subject.records.removeRecords(of: stored.id, claim: claim))
            #expect(try await subject.rowCount(stored.id) == 10)
            #expect(try await subject.ledger.samples(of: stored.id) == Array(records[..<10]))
            #expect(try await subject.rowCount(other.id) == records.count)
        },
        Case("a digest covers the content of all rows, in any order") { subject in
            let records = try numbered(200)
            let stored = try await subject.storedRows(records)
            let digest = try await subject.records.digest(of: stored.id)
            #expect(digest.count == 200)
            // The same rows in another import and in another order.
            let reversed = try await subject.storedRows(Array(records.reversed()))
            #expect(try await subject.records.digest(of: reversed.id) == digest)
            #expect(try await subject.records.digest(of: .random()).count == 0)
            try await subject.tamper(.change(150, #"{"n":150,"name":"row 15O"}"#), stored.id)
            let changed = try await subject.records.digest(of: stored.id)
            #expect(changed.count == 200)
            #expect(changed != digest)
            try await subject.tamper(.remove(150), stored.id)
            #expect(try await subject.records.digest(of: stored.id).count == 199)
        },
    ]
}
