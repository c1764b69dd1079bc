import FlowTestKit
import Foundation

/// A file of import keys in a folder of its own, and a program that decrypts what the hub stores. The program is written
/// after docs/decisions/0014-import-encryption.md, in another language and with another library than the hub.
struct ImportKeyFixture: Sendable {
    static let keys = [
        "old": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "new": "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=",
    ]

    private let folder: TemporaryFolder
    var path: String { self.folder.path + "/import.keys" }
    var environment: [String: String] { ["FLOWHUB_IMPORT_KEYS": self.path] }

    /// Runs the body with a file of these lines.
    static func running<Result>(_ lines: [String], _ body: (ImportKeyFixture) async throws -> Result) async throws -> Result {
        let fixture = ImportKeyFixture(folder: try TemporaryFolder())
        defer { fixture.folder.remove() }
        try fixture.write(lines)
        return try await body(fixture)
    }

    /// A line of the file.
    static func line(_ name: String, _ mark: String = "") -> String { "\(name) \(Self.keys[name] ?? "") \(mark)" }

    /// Replaces the file as documented: written beside it and renamed.
    func write(_ lines: [String], mode: Int = 0o600) throws {
        let new = self.path + ".new"
        try lines.map { $0 + "\n" }.joined().write(toFile: new, atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: new)
        _ = try? FileManager.default.removeItem(atPath: self.path)
        try FileManager.default.moveItem(atPath: new, toPath: self.path)
    }

    private static let program = #"""
        import base64, gzip, json, struct, sys
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        def file_of_keys(path):
            keys = {}
            for line in open(path):
                words = line.split()
                if words and not words[0].startswith("#"): keys[words[0]] = base64.b64decode(words[1])
            return keys

        def derive(key, salt, info, length): return HKDF(hashes.SHA256(), length, salt, info).derive(key)

        def open_piece(key, sealed, kind, number, last, import_id, account):
            data = bytes([kind, last]) + struct.pack(">Q", number) + import_id.encode() + account.encode()
            return AESGCM(key).decrypt(bytes([kind, 0, 0, 0]) + struct.pack(">Q", number), sealed, data)

        def decrypt_object(data, keys, import_id, account):
            assert data[:8] == b"FLOWHUB\x01", data[:8]
            salt, length = data[8:40], data[40]
            name, at = data[41:41 + length].decode(), 41 + length
            key = derive(keys[name], salt, b"flowhub import key 1", 32)
            document, number = b"", 1
            while at < len(data):
                (size,) = struct.unpack(">I", data[at:at + 4])
                end = at + 4 + size
                document += gzip.decompress(
                    open_piece(key, data[at + 4:end], 1, number, int(end == len(data)), import_id, account))
                at, number = end, number + 1
            return document

        def decrypt_records(rows, description, keys, import_id, account, kind):
            description = json.loads(description)
            master, salt = keys[description["key"]], base64.b64decode(description["salt"])
            assert description["v"] == 1
            assert base64.b64decode(description["check"]) == derive(master, salt, b"flowhub import check 1", 8)
            key, records = derive(master, salt, b"flowhub import key 1", 32), []
            for position, row in enumerate(rows):
                word, version, number, text = json.loads(row).split(":")
                assert (word, version, int(number)) == ("flowhub-encrypted", "1", position)
                last = int(kind == 2 and position == len(rows) - 1)
                records.append(open_piece(key, base64.b64decode(text), kind, position, last, import_id, account))
            return records

        """#

    /// Decrypts an object.
    /// - Parameter key: the object's key, which has the account and the import's id.
    func decrypt(_ object: [UInt8], key: String) async throws -> [UInt8] {
        let segments = key.split(separator: "/").map(String.init)
        let file = self.folder.path + "/object"
        try Data(object).write(to: URL(fileURLWithPath: file))
        _ = try await TestTools.python(
            Self.program + """
                data = decrypt_object(open(sys.argv[2], "rb").read(), file_of_keys(sys.argv[1]), sys.argv[3], sys.argv[4])
                open(sys.argv[2] + ".out", "wb").write(data)
                """, [self.path, file, segments[5], segments[1]])
        return Array(try Data(contentsOf: URL(fileURLWithPath: file + ".out")))
    }

    /// The error of a program that reads an object as the legacy service does.
    func legacyReaderError(_ object: [UInt8]) async throws -> String {
        let file = self.folder.path + "/object"
        try Data(object).write(to: URL(fileURLWithPath: file))
        return try await TestTools.python(
            """
            import gzip, json, sys
            try: print(len(json.loads(gzip.decompress(open(sys.argv[1], "rb").read()).decode())), "records")
            except Exception as error: print(error)
            """, [file])
    }

    /// Decrypts the text of rows.
    /// - Parameters:
    ///   - rows: each row's text, in order, one per line.
    ///   - description: the column `encryption` of the ledger.
    ///   - isSample: whether they are the sample rows of an import whose records are in an object.
    func decrypt(rows: String, description: String, id: String, account: String, isSample: Bool) async throws -> [String] {
        let file = self.folder.path + "/rows"
        try rows.write(toFile: file, atomically: false, encoding: .utf8)
        let text = try await TestTools.python(
            Self.program + """
                rows = open(sys.argv[2]).read().splitlines()
                for record in decrypt_records(rows, sys.argv[3], file_of_keys(sys.argv[1]), *sys.argv[4:6], int(sys.argv[6])):
                    print(record.decode())
                """, [self.path, file, description, id, account, isSample ? "3" : "2"])
        return text.split(separator: "\n").map(String.init)
    }
}
