import FlowObjects
import Synchronization
import Testing

@testable import FlowCore

/// Pieces of encrypted imports: any piece that was changed, moved, cut off or taken from elsewhere is rejected.
@Suite struct ImportPiecesTests {
    private static let keys = """
        new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
        old //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=
        """

    private let id = ImportID.random()
    private let keyring: ImportKeyring

    init() throws { self.keyring = ImportKeyring(OpenSSLImportCipher(), keys: try ImportKeySet(Array(Self.keys.utf8))) }

    private func newPieces(_ id: ImportID? = nil, _ account: String = "7") throws -> ImportPieces {
        try #require(self.keyring.newPieces(of: id ?? self.id, account: account))
    }

    private func isDamaged(_ body: () throws -> Any) -> Bool {
        do {
            _ = try body()
            return false
        } catch ImportError.damaged {
            return true
        } catch {
            return false
        }
    }

    @Test func piecesAreDecryptedOnlyInTheirPlace() throws {
        let pieces = try self.newPieces()
        let members: [[UInt8]] = [[1, 2, 3], [UInt8](repeating: 9, count: 100_000), []]
        let sealed = members.enumerated().map { pieces.sealMember($1, number: $0 + 1, isLast: $0 == 2) }
        #expect(zip(members, sealed).allSatisfy { $1.count == $0.count + ImportPieces.overhead })
        // Whoever reads has only the description in the ledger.
        let reader = try self.keyring.pieces(of: pieces.encryption, self.id, account: "7")
        for (index, piece) in sealed.enumerated() {
            #expect(try reader.openMember(piece[...], number: index + 1, of: 4) == members[index])
        }
        #expect(try reader.openMember(pieces.header[...], number: 0, of: 4) == [])
        // Reordered; the last one cut off; continued after the last one.
        #expect(self.isDamaged { try reader.openMember(sealed[1][...], number: 1, of: 4) })
        #expect(self.isDamaged { try reader.openMember(sealed[0][...], number: 2, of: 4) })
        #expect(self.isDamaged { try reader.openMember(sealed[1][...], number: 2, of: 3) })
        #expect(self.isDamaged { try reader.openMember(sealed[2][...], number: 3, of: 5) })
        // Each byte counts: the length, the text, the tag.
        for index in [0, 3, 4, 50_000, sealed[1].count - 1] {
            var changed = sealed[1]
            changed[index] ^= 0x40
            #expect(self.isDamaged { try reader.openMember(changed[...], number: 2, of: 4) })
        }
        let cut: [[UInt8]] = [
            Array(sealed[1].dropLast()), sealed[1] + [0], Array(sealed[1].prefix(19)), [], Array(sealed[1].dropFirst()),
        ]
        for piece in cut { #expect(self.isDamaged { try reader.openMember(piece[...], number: 2, of: 4) }) }
        var header = pieces.header
        header[9] ^= 1
        #expect(self.isDamaged { try reader.openMember(header[...], number: 0, of: 4) })
        // As another kind of piece.
        let text = JSONText(
            unchecked: Array(#""flowhub-encrypted:1:1:"#.utf8) + Base64.encode(Array(sealed[0].dropFirst(4))) + [0x22])
        #expect(self.isDamaged { try reader.openRows([text], from: 1, total: 9) })
    }

    @Test func piecesOfAnotherImportAccountKeyOrCopyAreRejected() throws {
        let pieces = try self.newPieces()
        let piece = pieces.sealMember([1, 2, 3], number: 1, isLast: true)
        // The account and the id are bound even under the same derived key.
        for (id, account) in [(self.id, "8"), (self.id, "70"), (ImportID.random(), "7")] {
            let other = try self.keyring.pieces(of: pieces.encryption, id, account: account)
            #expect(self.isDamaged { try other.openMember(piece[...], number: 1, of: 2) })
        }
        // Another copy of the same import has another key.
        let again = try self.newPieces()
        #expect(again.encryption.salt != pieces.encryption.salt)
        #expect(again.sealMember([1, 2, 3], number: 1, isLast: true) != piece)
        #expect(self.isDamaged { try again.openMember(piece[...], number: 1, of: 2) })
    }

    @Test func recordsAreDecryptedOnlyInTheirPlace() throws {
        let pieces = try self.newPieces()
        let records = [#"{"a":1.00}"#, #""\u0000""#, "null"].map { JSONText(unchecked: Array($0.utf8)) }
        let rows =
            pieces.sealRows(records[..<2].map { $0 }, from: 0, isEnd: false) + pieces.sealRows([records[2]], from: 2, isEnd: true)
        for row in rows { #expect(try JSONText(validating: row.bytes).stringValue?.hasPrefix("flowhub-encrypted:1:") == true) }
        #expect(try pieces.openRows(rows, from: 0, total: 3) == records)
        #expect(try pieces.openRows(Array(rows[1...]), from: 1, total: 3) == Array(records[1...]))
        #expect(self.isDamaged { try pieces.openRows([rows[1], rows[0], rows[2]], from: 0, total: 3) })
        #expect(self.isDamaged { try pieces.openRows(Array(rows[..<2]), from: 0, total: 2) })
        #expect(self.isDamaged { try pieces.openRows(rows, from: 0, total: 4) })
        #expect(self.isDamaged { try pieces.openRows([records[0]], from: 0, total: 3) })
        #expect(self.isDamaged { try pieces.openSamples([rows[0]]) })
        // The number in the text is not what counts.
        let renumbered = JSONText(unchecked: Array(rows[1].string.replacing(":1:1:", with: ":1:0:").utf8))
        #expect(self.isDamaged { try pieces.openRows([renumbered], from: 0, total: 3) })
        let samples = pieces.sealSamples(records)
        #expect(try pieces.openSamples(samples) == records)
        #expect(self.isDamaged { try pieces.openRows(samples, from: 0, total: 3) })
        for text in [
            #""flowhub-encrypted:1:0:""#, #""flowhub-encrypted:1:0:AAAA""#, #""flowhub-encrypted:1:0"#,
            #""flowhub-encrypted:2:0:AAAA""#,
        ] {
            #expect(self.isDamaged { try pieces.openRows([JSONText(unchecked: Array(text.utf8))], from: 0, total: 3) })
        }
    }

    @Test func noNonceIsUsedTwiceUnderOneKey() throws {
        let cipher = RecordingCipher()
        let keyring = ImportKeyring(cipher, keys: try ImportKeySet(Array(Self.keys.utf8)))
        let records = (0..<50).map { JSONText(unchecked: Array("\($0)".utf8)) }
        for _ in 0..<3 {
            let pieces = try #require(keyring.newPieces(of: self.id, account: "7"))
            for number in 1...50 { _ = pieces.sealMember([1], number: number, isLast: number == 50) }
            _ = pieces.sealRows(records, from: 0, isEnd: true)
            _ = pieces.sealSamples(Array(records[..<10]))
        }
        #expect(cipher.uses.withLock { $0.count } == 3 * 110)
        #expect(cipher.uses.withLock { Set($0).count } == 3 * 110)
    }

    @Test func lostOrReplacedKeyIsNamed() throws {
        let pieces = try self.newPieces()
        #expect(self.keyring.state(of: pieces.encryption) == .present)
        let lines = Self.keys.split(separator: "\n")
        self.keyring.replace(try ImportKeySet(Array(lines[1].utf8)))
        #expect(self.keyring.encryptingKey == "old" && self.keyring.state(of: pieces.encryption) == .missing)
        let missing = #expect(throws: ImportError.self) { try self.keyring.pieces(of: pieces.encryption, self.id, account: "7") }
        #expect(missing?.description.contains("import key new") == true)
        self.keyring.replace(try ImportKeySet(Array(lines[1].replacing("old", with: "new").utf8)))
        #expect(self.keyring.state(of: pieces.encryption) == .different)
        let differs = #expect(throws: ImportError.self) { try self.keyring.pieces(of: pieces.encryption, self.id, account: "7") }
        #expect(differs?.description.contains("differs") == true)
        self.keyring.replace(ImportKeySet())
        #expect(self.keyring.newPieces(of: self.id, account: "7") == nil)
    }

    @Test func descriptionInTheLedgerIsReadBack() throws {
        let encryption = try self.newPieces().encryption
        #expect(ImportEncryption(encryption.json) == encryption)
        let text = encryption.json.string
        for (old, new) in [
            ("\"v\":1", "\"v\":2"), ("\"salt\":\"", "\"salt\":\"A"), ("\"check\"", "\"checked\""), ("\"new\"", "7"),
        ] {
            #expect(ImportEncryption(try JSONText(validating: text.replacing(old, with: new).utf8)) == nil)
        }
    }
}
