import FlowCore
import Testing

/// The encryption of an import under a key of this name.
func encryption(_ key: String, salt: UInt8 = 1) throws -> ImportEncryption {
    let salt = String(decoding: Base64.encode([UInt8](repeating: salt, count: 32)), as: UTF8.self)
    return try #require(
        ImportEncryption(JSONText(trusted: Array(#"{"v":1,"key":"\#(key)","salt":"\#(salt)","check":"AAAAAAAAAAA="}"#.utf8))))
}

/// Stand-ins for the encrypted texts of records.
private func sealed(_ count: Int, _ name: String) -> [JSONText] {
    (0..<count).map { JSONText(trusted: Array(#""flowhub-encrypted:1:\#($0):\#(name)""#.utf8)) }
}

extension ImportLedgerContract {
    static let encryption: [Case] = [
        Case("how an import is encrypted is stored with its result") { subject in
            let encryption = try FlowTestKit.encryption("2026-01")
            let begun = try await subject.begin(try subject.draft(location: "imports/7/x"))
            var stored = result(try numbered(3), hasObject: true)
            stored.encryption = encryption
            stored.samples = sealed(3, "a")
            #expect(try await subject.ledger.finish(begun.id, claim: 1, stored))
            #expect(try await subject.ledger.load(begun.id)?.encryption == encryption)
            #expect(try await subject.ledger.list(ImportQuery(account: "7", limit: 9)).imports.first?.encryption == encryption)
            #expect(try await subject.ledger.samples(of: begun.id) == sealed(3, "a"))
            let plain = try await subject.storedObject(try subject.draft(location: "imports/7/y"))
            #expect(plain.encryption == nil)
        },
        Case("a new object replaces the object of a stored import, its encryption and its sample rows") { subject in
            let before = try await subject.storedObject(try subject.draft(location: "imports/7/old"), records: 30)
            let claim = try await subject.claim(before.id).claim
            var rewritten = result(try numbered(30), hasObject: true)
            rewritten.location = "imports/7/new"
            rewritten.encryption = try FlowTestKit.encryption("2026-01")
            rewritten.samples = sealed(10, "a")
            #expect(try await subject.ledger.finish(before.id, claim: claim - 1, rewritten) == false)
            #expect(try await subject.ledger.load(before.id)?.location == "imports/7/old")
            #expect(try await subject.ledger.finish(before.id, claim: claim, rewritten))
            let after = try #require(try await subject.ledger.load(before.id))
            #expect(after.location == "imports/7/new")
            #expect(after.provider == before.provider && after.status == .stored && after.requestHash == before.requestHash)
            #expect(after.encryption == rewritten.encryption)
            #expect(try await subject.ledger.samples(of: before.id) == sealed(10, "a"))
            #expect(try await subject.rowCount(before.id) == 10)
            #expect(try await !subject.ledger.isReferenced("imports/7/old"))
        },
        Case("a move to an encrypted object leaves no sample row in plain text") { subject in
            for count in [2, 2_500] {
                let stored = try await subject.storedRows(try numbered(count))
                let claim = try await subject.claim(stored.id).claim
                var moved = result(try numbered(count), hasObject: true)
                moved.encryption = try FlowTestKit.encryption("2026-01")
                moved.samples = sealed(min(10, count), "a")
                moved.replacesSamples = true
                let digest = try await subject.records.digest(of: stored.id)
                #expect(
                    try await subject.records.switchToObject(
                        stored.id, claim: claim, location: "l\(count)", provider: "r2", expecting: digest, moved))
                #expect(try await subject.ledger.samples(of: stored.id) == sealed(min(10, count), "a"))
                #expect(try await subject.rowCount(stored.id) == min(10, count))
                #expect(try await subject.ledger.load(stored.id)?.encryption == moved.encryption)
            }
        },
        Case("a move to rows sets how they are encrypted") { subject in
            for encryption in [try FlowTestKit.encryption("2026-02"), nil] {
                let begun = try await subject.begin(try subject.draft(location: "l"))
                var object = result(try numbered(3), hasObject: true)
                object.encryption = try FlowTestKit.encryption("2026-01")
                #expect(try await subject.ledger.finish(begun.id, claim: 1, object))
                let claim = try await subject.claim(begun.id).claim
                #expect(try await subject.records.append(sealed(3, "b"), at: 0, to: begun.id, account: "7", claim: claim))
                var rows = result(try numbered(3))
                rows.encryption = encryption
                #expect(try await subject.records.switchToRows(begun.id, claim: claim, count: 3, rows))
                #expect(try await subject.ledger.load(begun.id)?.encryption == encryption)
                #expect(try await subject.records.records(of: begun.id, offset: 0, limit: 9) == sealed(3, "b"))
            }
        },
        Case("the ledger names each key with which a stored import is encrypted") { subject in
            #expect(try await subject.ledger.encryptions() == [])
            for (number, key) in ["b", "a", "b"].enumerated() {
                let begun = try await subject.begin(try subject.draft(location: "l\(number)"))
                var stored = result(try numbered(1), hasObject: true)
                stored.encryption = try FlowTestKit.encryption(key, salt: UInt8(number))
                #expect(try await subject.ledger.finish(begun.id, claim: 1, stored))
            }
            _ = try await subject.storedObject(try subject.draft(location: "plain"))
            #expect(try await subject.ledger.encryptions().map(\.key).sorted() == ["a", "b"])
        },
    ]
}
