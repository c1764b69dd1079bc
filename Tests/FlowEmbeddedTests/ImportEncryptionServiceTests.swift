import FlowCore
import FlowEmbedded
import Foundation
import GRDB
import Testing

@testable import FlowObjects

/// The import service with import keys, on SQLite with a folder of objects or with rows.
@Suite struct ImportEncryptionServiceTests {
    private static let first = "a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private static let second = "b //79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="
    private static let records = (0..<3_000).map { #"{"n":\#($0),"text":"secret \#($0)"}"# }
    private static let document = "[\n" + Self.records.joined(separator: ",\n") + "\n]\n"

    private static func keys(_ lines: String...) throws -> ImportKeySet {
        try ImportKeySet(Array(lines.joined(separator: "\n").utf8))
    }

    /// Small members, so that the object has several pieces.
    private static func configuration() -> ImportConfiguration {
        var configuration = ImportConfiguration()
        configuration.memberBytes = 20_000
        return configuration
    }

    private static func running(
        isRows: Bool = false, _ lines: String..., body: (ImportServiceFixture, Import, String) async throws -> Void
    ) async throws {
        try await withStore { store, folder in
            let keys = lines.isEmpty ? ImportKeySet() : try ImportKeySet(Array(lines.joined(separator: "\n").utf8))
            let fixture = try ImportServiceFixture(store, folder, isRows: isRows, keys: keys, Self.configuration())
            let entry = try await fixture.ingest(Self.records.joined(separator: "\n"), format: .ndjson)
            try await body(fixture, entry, folder)
        }
    }

    private static func text(_ fixture: ImportServiceFixture, _ id: ImportID) async throws -> String {
        let (document, _) = try await fixture.service.document(id, account: "7")
        var bytes: [UInt8] = []
        while let chunk = try await document.next() { bytes += chunk }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The bytes of all files below the folder, among them the database.
    private static func contains(_ text: String, in folder: String) throws -> Bool {
        for case let name as String in FileManager.default.enumerator(atPath: folder) ?? .init() {
            let data = FileManager.default.contents(atPath: folder + "/" + name) ?? Data()
            if data.range(of: Data(text.utf8)) != nil { return true }
        }
        return false
    }

    private static func expectReadable(_ fixture: ImportServiceFixture, _ id: ImportID) async throws {
        #expect(try await Self.text(fixture, id) == Self.document)
        for offset in [0, 1, 700, 1_500, 2_995] {
            let found = try await fixture.service.records(id, account: "7", offset: offset, limit: 50).records.map(\.string)
            #expect(found == Array(Self.records[offset..<min(offset + 50, 3_000)]))
        }
        #expect(try await fixture.service.sample(id, account: "7").elements.map(\.string) == Array(Self.records[..<100]))
        #expect(try await fixture.service.analysis(id, account: "7").member("total_records")?.intValue == 3_000)
        let entry = try #require(try await fixture.ledger.load(id))
        #expect(try await ImportVerifier(fixture.service).verify(entry) { _ in } == [])
    }

    @Test(arguments: [false, true])
    func encryptedImportIsReadAsAnyOtherAndItsTextIsNowhere(_ isRows: Bool) async throws {
        try await Self.running(isRows: isRows, Self.first) { fixture, entry, folder in
            #expect(entry.encryption?.key == "a" && entry.json.member("encryption_key")?.stringValue == "a")
            try await Self.expectReadable(fixture, entry.id)
            #expect(try !Self.contains("secret ", in: folder))
            #expect(fixture.service.metrics.encrypted == 1)
            // What is derived from the records stays in this process.
            #expect(await fixture.cache.value(.sample, of: entry.id) == nil)
            #expect(await fixture.cache.value(.analysis, of: entry.id) == nil)
            #expect(await fixture.localCache.value(.sample, of: entry.id) != nil)
            #expect(await fixture.localCache.value(.analysis, of: entry.id) != nil)
            try await fixture.service.delete(entry.id, account: "7")
            #expect(await fixture.localCache.value(.sample, of: entry.id) == nil)
        }
    }

    @Test(arguments: [false, true])
    func withoutKeysNothingIsEncrypted(_ isRows: Bool) async throws {
        try await Self.running(isRows: isRows) { fixture, entry, folder in
            #expect(entry.encryption == nil && entry.json.member("encryption_key") == nil)
            #expect(await fixture.cache.value(.sample, of: entry.id) != nil)
            try await Self.expectReadable(fixture, entry.id)
        }
    }

    @Test func samplesStayInTheProcessIfTheyAreNotShared() async throws {
        try await withStore { store, folder in
            var configuration = Self.configuration()
            configuration.sharesSamples = false
            let fixture = try ImportServiceFixture(store, folder, configuration)
            let entry = try await fixture.ingest("[1,2]", format: .json)
            _ = try await fixture.service.analysis(entry.id, account: "7")
            #expect(await fixture.cache.value(.sample, of: entry.id) == nil)
            #expect(await fixture.localCache.value(.sample, of: entry.id)?.string == "[1,2]")
            #expect(await fixture.cache.value(.analysis, of: entry.id) != nil)
        }
    }

    @Test func clientGetsGzipOfTheRecordsAndNoLink() async throws {
        try await Self.running(Self.first) { fixture, entry, _ in
            let object = try #require(try await fixture.service.storedObject(entry.id, account: "7"))
            var bytes: [UInt8] = []
            while let chunk = try await object.next() { bytes += chunk }
            #expect(object.info.size == bytes.count)
            #expect(try await fixture.codec.decompress(bytes, limit: 1 << 22) == Array(Self.document.utf8))
            await #expect {
                try await fixture.service.link(entry.id, account: "7")
            } throws: {
                if case ImportError.linkEncrypted = $0 { true } else { false }
            }
        }
    }

    @Test func changedPiecesOfObjectAreFound() async throws {
        try await Self.running(Self.first) { fixture, entry, folder in
            let location = try #require(entry.location)
            let path = folder + "/objects/stored/" + location
            let good = Array(try #require(FileManager.default.contents(atPath: path)))
            let index = try #require(try await fixture.ledger.index(of: entry.id))
            #expect(index.members.count > 5 && index.members[0].records == 0)
            func part(_ number: Int) -> ArraySlice<UInt8> {
                let range = index.run(of: number).bytes
                return good[range]
            }
            let numbers = Array(index.members.indices)
            var flipped = good
            flipped[good.count / 2] ^= 1
            let variants: [(String, [UInt8])] = [
                ("one bit", flipped), ("the end cut off", Array(good.dropLast(part(numbers.count - 1).count))),
                ("a piece twice", Array(good) + part(numbers.count - 1)),
                ("the header of another copy", Array(good.prefix(8)) + [good[8] ^ 1] + good.dropFirst(9)),
                ("plain gzip", await fixture.codec.compress(Array(Self.document.utf8))),
            ]
            for (what, bytes) in variants {
                try FileManager.default.removeItem(atPath: path)
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                await #expect(throws: (any Error).self, "\(what)") { _ = try await Self.text(fixture, entry.id) }
                let problems = try await ImportVerifier(fixture.service).verify(entry) { _ in }
                #expect(problems.contains { $0.isDamage }, "\(what)")
            }
            try FileManager.default.removeItem(atPath: path)
            try Data(good).write(to: URL(fileURLWithPath: path))
            try await Self.expectReadable(fixture, entry.id)
        }
    }

    @Test func changedRowsAreFound() async throws {
        let changes = [
            "UPDATE raw_import_records SET raw_text = (SELECT raw_text FROM raw_import_records r WHERE r.place % 4294967296 = 5) WHERE place % 4294967296 = 6",
            "UPDATE raw_import_records SET raw_text = '{\"n\":6}' WHERE place % 4294967296 = 6",
            "DELETE FROM raw_import_records WHERE place % 4294967296 = 2999",
            "DELETE FROM raw_import_records WHERE place % 4294967296 = 2999; UPDATE data_imports SET total_records = 2999",
        ]
        for change in changes {
            try await Self.running(isRows: true, Self.first) { fixture, entry, folder in
                try await DatabaseQueue(path: folder + "/flowhub.sqlite").write { try $0.execute(sql: change) }
                await #expect(throws: (any Error).self, "\(change)") { _ = try await Self.text(fixture, entry.id) }
                let now = try #require(try await fixture.ledger.load(entry.id))
                #expect(try await ImportVerifier(fixture.service).verify(now) { _ in }.contains { $0.isDamage }, "\(change)")
            }
        }
    }

    @Test func lostKeyIsNamedAndItsReturnMakesTheImportReadable() async throws {
        try await Self.running(Self.first, Self.second) { fixture, entry, _ in
            for lines in [Self.second, "a " + Self.second.dropFirst(2)] {
                fixture.keyring.replace(try Self.keys(lines))
                let error = await #expect(throws: ImportError.self) {
                    try await fixture.service.records(entry.id, account: "7", offset: 0, limit: 1)
                }
                #expect(error?.unreadable?.contains("import key a") == true)
                let problems = try await ImportVerifier(fixture.service).verify(entry) { _ in }
                #expect(problems.count == 1 && problems[0].isDamage && problems[0].description.contains("import key a"))
                let moved = await #expect(throws: ImportError.self) {
                    try await ImportMover(fixture.service).moveToRows(entry.id) { _ in }
                }
                #expect(moved?.unreadable != nil)
            }
            fixture.keyring.replace(try Self.keys(Self.second, Self.first))
            try await Self.expectReadable(fixture, entry.id)
            // The key is not needed to delete.
            fixture.keyring.replace(try Self.keys(Self.second))
            try await fixture.service.delete(entry.id, account: "7")
            #expect(try await fixture.objects.list(prefix: "", after: nil, limit: 9).objects.isEmpty)
        }
    }

    @Test func movesEncryptAndDecryptAsTheKeysSay() async throws {
        try await Self.running { fixture, entry, folder in
            let mover = ImportMover(fixture.service)
            func key() async throws -> String? { try await fixture.ledger.load(entry.id)?.encryption?.key }
            // From plain to encrypted rows, to an encrypted object under another key, and back to plain ones.
            fixture.keyring.replace(try Self.keys(Self.first))
            _ = try await mover.moveToRows(entry.id) { _ in }
            #expect(try await key() == "a")
            try await Self.expectReadable(fixture, entry.id)
            fixture.keyring.replace(try Self.keys(Self.second, Self.first))
            _ = try await mover.moveToObjects(entry.id) { _ in }
            #expect(try await key() == "b")
            fixture.keyring.replace(try Self.keys(Self.second))
            try await Self.expectReadable(fixture, entry.id)
            let samples = try await fixture.ledger.samples(of: entry.id)
            #expect(samples.count == 10 && samples.allSatisfy { $0.string.contains("flowhub-encrypted") })
            fixture.keyring.replace(try Self.keys(Self.second + " decrypts"))
            _ = try await mover.moveToRows(entry.id) { _ in }
            #expect(try await key() == nil)
            try await Self.expectReadable(fixture, entry.id)
            #expect(try await fixture.ledger.samples(of: entry.id).map(\.string) == Array(Self.records[..<10]))
        }
    }

    @Test func objectIsRewrittenUnderTheKeyThatEncrypts() async throws {
        try await Self.running { fixture, entry, _ in
            let mover = ImportMover(fixture.service)
            var location = entry.location
            for (lines, key) in [(Self.first, "a"), (Self.second + "\n" + Self.first, "b"), (Self.second + " decrypts", nil)] {
                fixture.keyring.replace(try Self.keys(lines))
                guard case .moved(3_000, _) = try await mover.rewriteObject(entry.id, progress: { _ in }) else {
                    Issue.record("the object was not rewritten")
                    return
                }
                let now = try #require(try await fixture.ledger.load(entry.id))
                #expect(now.encryption?.key == key && now.location != location)
                #expect(now.storage?.contentHash == entry.storage?.contentHash)
                #expect(
                    try await fixture.objects.list(prefix: "imports/", after: nil, limit: 9).objects.map(\.key) == [now.location])
                location = now.location
                try await Self.expectReadable(fixture, entry.id)
                #expect(try await mover.rewriteObject(entry.id) { _ in } == .alreadyMoved)
            }
        }
    }

    @Test func sampleRowsAreReadWhileTheObjectStoreFails() async throws {
        try await withStore { store, folder in
            let fixture = try ImportServiceFixture(
                store, folder, keys: try Self.keys(Self.first),
                wrapping: { _, objects in UnreadableObjectStore(inner: objects) }, Self.configuration())
            let entry = try await fixture.ingest(Self.records.joined(separator: "\n"), format: .ndjson)
            fixture.localCache.remove(entry.id)
            #expect(
                try await fixture.service.sample(entry.id, account: "7").elements.map(\.string) == Array(Self.records[..<10]))
        }
    }

    @Test(arguments: [false, true], [false, true])
    func archiveKeepsRecordsEncrypted(_ fromRows: Bool, _ toRows: Bool) async throws {
        try await Self.running(isRows: fromRows, Self.first) { fixture, entry, folder in
            let archive = try FolderObjectStore(folder: folder + "/archive") { start }
            let archiver = ImportArchiver(fixture.service, restoration: fixture.ledger, archive: archive)
            guard case .exported(let archived) = try await archiver.export(entry, isAnnounced: true, progress: { _ in }) else {
                Issue.record("the import was not exported")
                return
            }
            #expect(archived.entry.encryption?.key == "a")
            #expect(try !Self.contains("secret ", in: folder))
            try await withStore { store, other in
                let target = try ImportServiceFixture(
                    store, other, isRows: toRows, keys: try Self.keys(Self.second), Self.configuration())
                let restorer = ImportArchiver(target.service, restoration: target.ledger, archive: archive)
                let read = try #require(try await restorer.entry(entry.id))
                let error = await #expect(throws: ImportError.self) { try await restorer.restore(read) { _ in } }
                #expect(error?.unreadable?.contains("import key a") == true)
                target.keyring.replace(try Self.keys(Self.second, Self.first))
                #expect(try await restorer.restore(read) { _ in } == .restored)
                try await Self.expectReadable(target, entry.id)
                #expect(try await target.ledger.load(entry.id)?.encryption?.key == (toRows ? "b" : "a"))
                #expect(try !Self.contains("secret ", in: other))
            }
        }
    }

    /// All keys only decrypt: new imports are not encrypted, and what is encrypted stays so.
    @Test(arguments: [false, true])
    func archiveKeepsRecordsEncryptedAlsoIfNoKeyEncrypts(_ isRows: Bool) async throws {
        try await Self.running(isRows: isRows, Self.first) { fixture, entry, folder in
            fixture.keyring.replace(try Self.keys(Self.first + " decrypts"))
            let archiver = ImportArchiver(
                fixture.service, restoration: fixture.ledger,
                archive: try FolderObjectStore(folder: folder + "/archive") { start })
            _ = try await archiver.export(entry, isAnnounced: true) { _ in }
            let archived = try #require(try await archiver.entry(entry.id))
            #expect(archived.entry.encryption?.key == "a" && archived.entry.totalRecords == 3_000)
            #expect(try !Self.contains("secret ", in: folder))
        }
    }

    @Test func plainArchiveIsRestoredEncryptedIfAKeyEncrypts() async throws {
        try await Self.running { fixture, entry, folder in
            let archive = try FolderObjectStore(folder: folder + "/archive") { start }
            let archiver = ImportArchiver(fixture.service, restoration: fixture.ledger, archive: archive)
            _ = try await archiver.export(entry, isAnnounced: true) { _ in }
            try await withStore { store, other in
                let target = try ImportServiceFixture(store, other, keys: try Self.keys(Self.first), Self.configuration())
                let restorer = ImportArchiver(target.service, restoration: target.ledger, archive: archive)
                let read = try #require(try await restorer.entry(entry.id))
                #expect(try await restorer.restore(read) { _ in } == .restored)
                #expect(try await target.ledger.load(entry.id)?.encryption?.key == "a")
                try await Self.expectReadable(target, entry.id)
                #expect(try !Self.contains("secret ", in: other))
            }
        }
    }
}

/// A folder store that takes objects and never returns them.
private struct UnreadableObjectStore: ObjectStore {
    let inner: FolderObjectStore

    var provider: String { self.inner.provider }
    var bucket: String { self.inner.bucket }

    func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        try await self.inner.upload(key, attributes)
    }

    func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        throw .unavailable("test")
    }

    func head(_ key: String) async throws(ObjectError) -> ObjectInfo? { try await self.inner.head(key) }
    func delete(_ key: String) async throws(ObjectError) { try await self.inner.delete(key) }

    func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try await self.inner.list(prefix: prefix, after: after, limit: limit)
    }

    func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? { nil }
}
