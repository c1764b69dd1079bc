public import FlowCore
import Testing

/// Contract tests that every ``ImportLedger`` with its ``ImportMaintenance`` passes. ``RecordStoreContract`` covers the rows.
public enum ImportLedgerContract {
    /// An empty ledger and its record store under test.
    public struct Subject: Sendable {
        public var ledger: any ImportLedger & ImportMaintenance
        public var records: any RecordStore
        /// Changes an import's rows directly in the database, bypassing the record store.
        public var tamper: @Sendable (Tampering, ImportID) async throws -> Void

        public init(
            ledger: any ImportLedger & ImportMaintenance, records: any RecordStore,
            tamper: @escaping @Sendable (Tampering, ImportID) async throws -> Void
        ) {
            self.ledger = ledger
            self.records = records
            self.tamper = tamper
        }
    }

    /// A change to an import's rows by another program.
    public enum Tampering: Sendable {
        /// Replaces the text of the record with this number.
        case change(Int, String)
        /// Removes the record with this number.
        case remove(Int)
    }

    public typealias Case = ContractCase<Subject>

    public static let cases: [Case] =
        Self.beginning + Self.claims + Self.ending + Self.lists + Self.maintenance
        + Self.encryption
}

// MARK: Helpers

extension ImportLedgerContract.Subject {
    func draft(
        _ account: String = "7", flow: String? = "f", key: String? = nil, location: String? = nil, provider: String = "r2",
        at createdAt: Timestamp = start
    ) throws -> ImportDraft {
        ImportDraft(
            id: .random(), account: account, flow: try flow.map { try FlowTestKit.flow($0) }, fileName: "a b.csv",
            sourceType: "csv", provider: provider, location: location, idempotencyKey: key, createdAt: createdAt)
    }

    /// A new import under its first claim.
    func begin(_ draft: ImportDraft, claimSeconds: Int = 60) async throws -> Import {
        guard case .begun(let begun) = try await self.ledger.begin(draft, claimSeconds: claimSeconds) else {
            throw TimedOut("a new import, but its idempotency key is in use")
        }
        return begun
    }

    /// A stored import whose records are rows.
    func storedRows(_ records: [JSONText], _ account: String = "7") async throws -> Import {
        let begun = try await self.begin(try self.draft(account, provider: self.records.provider))
        for start in stride(from: 0, to: records.count, by: 2_000) {
            let batch = Array(records[start..<min(start + 2_000, records.count)])
            #expect(try await self.records.append(batch, at: start, to: begun.id, account: account, claim: 1))
        }
        #expect(try await self.ledger.finish(begun.id, claim: 1, result(records)))
        return try #require(try await self.ledger.load(begun.id))
    }

    /// A stored import whose records are in an object.
    func storedObject(_ draft: ImportDraft, records: Int = 3) async throws -> Import {
        let begun = try await self.begin(draft)
        #expect(try await self.ledger.finish(begun.id, claim: 1, result(try numbered(records), hasObject: true)))
        return try #require(try await self.ledger.load(begun.id))
    }

    func claim(_ id: ImportID, to status: Import.Status? = nil, seconds: Int = 60) async throws -> Import {
        try #require(
            try await self.ledger.claim(id, from: Set(Import.Status.allCases), to: status, seconds: seconds))
    }

    /// Waits until the ledger's clock has advanced, so that later times differ from earlier ones.
    func waitForClockToAdvance() async throws {
        let probe = try await self.begin(try self.draft("probe", flow: nil))
        try await eventually("the ledger's clock to advance", every: .milliseconds(1)) {
            _ = try await self.ledger.extend(probe.id, claim: 1, seconds: 60)
            guard let before = probe.claimedUntil, let now = try await self.ledger.load(probe.id)?.claimedUntil else {
                return false
            }
            return now > before
        }
    }

    func rowCount(_ id: ImportID) async throws -> Int { try await self.records.digest(of: id).count }
}

func numbered(_ count: Int, from first: Int = 0) throws -> [JSONText] {
    (first..<first + count).map { JSONText(trusted: Array(#"{"n":\#($0),"name":"row \#($0)"}"#.utf8)) }
}

func result(_ records: [JSONText], hasObject: Bool = false) -> ImportResult {
    let bytes = records.reduce(0) { $0 + $1.bytes.count + 1 }
    var index = GzipMemberIndex()
    index.append(GzipMemberIndex.Member(records: records.count, compressed: bytes / 2, uncompressed: bytes))
    return ImportResult(
        storage: StorageMetadata(
            bucket: hasObject ? "b" : nil, sizeBytes: hasObject ? bytes / 2 : bytes, originalSizeBytes: bytes,
            recordCount: records.count, dataHash: hasObject ? "d4" : nil, contentHash: "c0"),
        fieldSummary: JSONText(trusted: Array(#"{"n":{"count":3,"avg":1.50},"a":1e-400}"#.utf8)),
        index: hasObject ? index : nil, samples: Array(records.prefix(Import.sampleRows)), requestHash: "e1")
}

// MARK: Beginning

extension ImportLedgerContract {
    static let beginning: [Case] = [
        Case("a new import is pending under claim 1 and matches its draft") { subject in
            let draft = try subject.draft(key: "k", location: "imports/7/x")
            let begun = try await subject.begin(draft)
            #expect(begun.claimedUntil != nil)
            #expect(begun.claim == 1)
            #expect(begun.status == .pending)
            #expect(
                begun
                    == Import(
                        id: draft.id, account: "7", flow: draft.flow, fileName: "a b.csv", sourceType: "csv", status: .pending,
                        createdAt: start, provider: "r2", location: "imports/7/x", idempotencyKey: "k", claim: 1,
                        claimedUntil: begun.claimedUntil))
            #expect(try await subject.ledger.load(draft.id) == begun)
            #expect(try await subject.ledger.load(.random()) == nil)
            #expect(try await subject.ledger.index(of: draft.id) == nil)
            #expect(try await subject.ledger.samples(of: draft.id) == [])
        },
        Case("accounts, flows and file names of any text are returned unchanged") { subject in
            let account = "\u{e4}cme 0007"
            var draft = try subject.draft(account, flow: "2147483648")
            draft.fileName = String(repeating: "\u{1f40d}", count: 300)
            draft.sourceType = nil
            let begun = try await subject.begin(draft)
            #expect(begun.account == account)
            #expect(begun.flow?.rawValue == "2147483648")
            #expect(begun.fileName == draft.fileName)
            #expect(begun.sourceType == nil)
            #expect(try await subject.ledger.list(ImportQuery(account: account, limit: 9)).imports == [begun])
        },
        Case("an idempotency key in use returns the existing import") { subject in
            let first = try await subject.begin(try subject.draft(key: "k"))
            guard case .found(let found) = try await subject.ledger.begin(try subject.draft(key: "k"), claimSeconds: 60) else {
                Issue.record("a second import with the same key was begun")
                return
            }
            #expect(found == first)
            #expect(try await subject.ledger.finish(first.id, claim: 1, result(try numbered(3), hasObject: true)))
            guard case .found(let stored) = try await subject.ledger.begin(try subject.draft(key: "k"), claimSeconds: 60) else {
                Issue.record("a second import with the same key was begun")
                return
            }
            #expect(stored.id == first.id)
            #expect(stored.status == .stored)
            // The key of another account is a different key, and imports without a key are always new.
            _ = try await subject.begin(try subject.draft("8", key: "k"))
            _ = try await subject.begin(try subject.draft())
            _ = try await subject.begin(try subject.draft())
        },
        Case("failed and deleting imports release their idempotency key") { subject in
            let failed = try await subject.begin(try subject.draft(key: "k"))
            #expect(try await subject.ledger.fail(failed.id, claim: 1, reason: "r"))
            let second = try await subject.begin(try subject.draft(key: "k"))
            _ = try await subject.ledger.extend(second.id, claim: 1, seconds: 0)
            _ = try await subject.claim(second.id, to: .deleting)
            _ = try await subject.begin(try subject.draft(key: "k"))
        },
        Case("a pending import whose claim expired releases its key and rejects its worker") { subject in
            let old = try await subject.begin(
                try subject.draft(key: "k", location: "l", provider: subject.records.provider), claimSeconds: 0)
            #expect(
                try await subject.records.append(try numbered(20), at: 0, to: old.id, account: "7", claim: 1))
            let new = try await subject.begin(try subject.draft(key: "k"))
            #expect(new.id != old.id)
            let expired = try #require(try await subject.ledger.load(old.id))
            #expect(expired.status == .pending)
            #expect(expired.idempotencyKey == nil)
            // Its location is still recorded, and the import is listed for the sweep.
            #expect(expired.location == "l")
            #expect(expired.claimedUntil == nil)
            #expect(try await subject.ledger.abandoned(limit: 10).map(\.id) == [old.id])
            #expect(try await subject.ledger.finish(old.id, claim: 1, result(try numbered(20))) == false)
            #expect(
                try await subject.records.append(try numbered(1), at: 20, to: old.id, account: "7", claim: 1) == false)
            #expect(try await subject.ledger.fail(old.id, claim: 1, reason: "r") == false)
            #expect(try await subject.ledger.load(old.id) == expired)
            let swept = try await subject.claim(old.id)
            #expect(try await subject.ledger.fail(old.id, claim: swept.claim, reason: "r"))
            #expect(try await subject.rowCount(old.id) == 0)
        },
        Case("exactly one of many concurrent imports with one key is begun") { subject in
            for round in 0..<TestScale.pick(3, full: 20) {
                // In every second round an abandoned import has the key.
                if round % 2 == 1 { _ = try await subject.begin(try subject.draft(key: "k\(round)"), claimSeconds: 0) }
                let begun = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for _ in 0..<12 {
                        let draft = try subject.draft(key: "k\(round)")
                        group.addTask {
                            if case .begun = try await subject.ledger.begin(draft, claimSeconds: 60) { return true }
                            return false
                        }
                    }
                    return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
                #expect(begun == 1)
            }
        },
    ]
}
