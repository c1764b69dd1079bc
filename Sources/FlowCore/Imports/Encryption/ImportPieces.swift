/// The encryption of one copy of an import's records, in pieces that are encrypted independently of each other.
///
/// Each copy has a key of its own, derived with a random salt, and the nonce of a piece is its kind and number. So no nonce
/// is used twice under one key. The associated data bind a piece to its kind, its number, whether it is the last one,
/// the import and the account: a piece that was moved, cut off or taken from another import cannot be decrypted.
struct ImportPieces: Sendable {
    /// What the bytes of a piece are.
    enum Kind: UInt8 {
        /// A gzip member of an object. Numbers count from 1, because member 0 of the index is the header.
        case object = 1
        /// A record in a row. Its number is the record's, from 0.
        case row = 2
        /// A sample row of an import whose records are in an object. Numbers count from 0; none is the last one.
        case sample = 3
    }

    /// The first bytes of an encrypted object: its kind and the version of the format.
    static let magic = Array("FLOWHUB".utf8) + [UInt8(ImportEncryption.version)]
    /// Bytes of the length before each piece of an object.
    private static let lengthBytes = 4
    private static let tagBytes = 16
    /// By how many bytes a piece of an object is longer than its gzip member.
    static let overhead = Self.lengthBytes + Self.tagBytes
    /// The beginning of the text of an encrypted record, a JSON string: it is followed by the number, a colon and Base64.
    private static let recordPrefix = Array(#""flowhub-encrypted:1:"#.utf8)

    let encryption: ImportEncryption
    private let key: [UInt8]
    /// The end of the associated data: import and account.
    private let owner: [UInt8]
    private let cipher: any ImportCipher

    init(_ encryption: ImportEncryption, key: [UInt8], id: ImportID, account: String, cipher: any ImportCipher) {
        self.encryption = encryption
        self.key = key
        self.owner = Array(id.rawValue.utf8) + Array(account.utf8)
        self.cipher = cipher
    }

    private static func bigEndian(_ number: Int) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
    }

    private func nonce(_ kind: Kind, _ number: Int) -> [UInt8] { [kind.rawValue, 0, 0, 0] + Self.bigEndian(number) }

    private func associatedData(_ kind: Kind, _ number: Int, isLast: Bool) -> [UInt8] {
        [kind.rawValue, isLast ? 1 : 0] + Self.bigEndian(number) + self.owner
    }

    private func seal(_ bytes: [UInt8], _ kind: Kind, _ number: Int, isLast: Bool) -> [UInt8] {
        self.cipher.seal(
            bytes, key: self.key, nonce: self.nonce(kind, number),
            associatedData: self.associatedData(kind, number, isLast: isLast))
    }

    private func open(_ sealed: [UInt8], _ kind: Kind, _ number: Int, isLast: Bool) -> [UInt8]? {
        self.cipher.open(
            sealed, key: self.key, nonce: self.nonce(kind, number),
            associatedData: self.associatedData(kind, number, isLast: isLast))
    }

    /// Why bytes could not be decrypted, for ``ImportError/damaged(_:)``.
    private func failure(_ what: String) -> ImportError {
        .damaged(
            "\(what) cannot be decrypted with the import key \(self.encryption.key): it was changed, moved or cut off, or "
                + "belongs to another import.")
    }

    // MARK: Objects

    /// The header of an encrypted object, which is not encrypted. It is member 0 of the object's index, with no records.
    var header: [UInt8] {
        Self.magic + self.encryption.salt + [UInt8(self.encryption.key.utf8.count)] + Array(self.encryption.key.utf8)
    }

    /// Encrypts a gzip member of an object.
    /// - Parameter number: its number in the index, from 1.
    func sealMember(_ member: [UInt8], number: Int, isLast: Bool) -> [UInt8] {
        let sealed = self.seal(member, .object, number, isLast: isLast)
        var piece: [UInt8] = []
        piece.reserveCapacity(Self.lengthBytes + sealed.count)
        piece += Self.bigEndian(sealed.count).suffix(Self.lengthBytes)
        piece += sealed
        return piece
    }

    /// Decrypts a member of an object.
    /// - Parameters:
    ///   - number: its number in the index, from 0.
    ///   - count: number of members in the index.
    /// - Returns: the gzip member; nothing for the header.
    func openMember(_ piece: ArraySlice<UInt8>, number: Int, of count: Int) throws(ImportError) -> [UInt8] {
        guard number > 0 else {
            guard piece.elementsEqual(self.header) else {
                throw .damaged("The header of the import's object differs from the ledger (encryption).")
            }
            return []
        }
        guard piece.count >= Self.overhead,
            piece.prefix(Self.lengthBytes).elementsEqual(Self.bigEndian(piece.count - Self.lengthBytes).suffix(Self.lengthBytes)),
            let member = self.open(Array(piece.dropFirst(Self.lengthBytes)), .object, number, isLast: number == count - 1)
        else { throw self.failure("Piece \(number) of the import's object") }
        return member
    }

    /// Decrypts the members of a run.
    /// - Parameter bytes: the bytes of the object that hold these members.
    /// - Returns: the gzip members, concatenated.
    func openRun(_ bytes: [UInt8], _ run: GzipMemberIndex.Run, _ index: GzipMemberIndex) throws(ImportError) -> [UInt8] {
        guard bytes.count == run.bytes.count else { throw self.failure("A range of the import's object") }
        var members: [UInt8] = []
        members.reserveCapacity(bytes.count)
        var start = 0
        for number in run.members {
            let end = start + index.members[number].compressed
            members += try self.openMember(bytes[start..<end], number: number, of: index.members.count)
            start = end
        }
        return members
    }

    // MARK: Rows

    /// Encrypts consecutive records for rows.
    /// - Parameters:
    ///   - first: number of the first record, from 0.
    ///   - isEnd: whether the last of them is the import's last record.
    func sealRows(_ records: [JSONText], from first: Int, isEnd: Bool) -> [JSONText] {
        records.enumerated().map { index, record in
            self.sealRecord(record, .row, first + index, isLast: isEnd && index == records.count - 1)
        }
    }

    /// Decrypts consecutive records of rows.
    /// - Parameters:
    ///   - first: number of the first record, from 0.
    ///   - total: number of all records of the import.
    func openRows(_ rows: [JSONText], from first: Int, total: Int) throws(ImportError) -> [JSONText] {
        var records: [JSONText] = []
        records.reserveCapacity(rows.count)
        for (index, row) in rows.enumerated() {
            let number = first + index
            records.append(try self.openRecord(row, .row, number, isLast: number == total - 1))
        }
        return records
    }

    /// Encrypts the sample rows of an import whose records are in an object.
    func sealSamples(_ samples: [JSONText]) -> [JSONText] {
        samples.enumerated().map { self.sealRecord($1, .sample, $0, isLast: false) }
    }

    /// Decrypts the sample rows of an import whose records are in an object.
    func openSamples(_ rows: [JSONText]) throws(ImportError) -> [JSONText] {
        var records: [JSONText] = []
        for (number, row) in rows.enumerated() { records.append(try self.openRecord(row, .sample, number, isLast: false)) }
        return records
    }

    private func sealRecord(_ record: JSONText, _ kind: Kind, _ number: Int, isLast: Bool) -> JSONText {
        let sealed = Base64.encode(self.seal(record.bytes, kind, number, isLast: isLast))
        var text: [UInt8] = []
        text.reserveCapacity(Self.recordPrefix.count + sealed.count + 24)
        text += Self.recordPrefix
        text += String(number).utf8
        text.append(UInt8(ascii: ":"))
        text += sealed
        text.append(UInt8(ascii: "\""))
        return JSONText(unchecked: text)
    }

    private func openRecord(_ row: JSONText, _ kind: Kind, _ number: Int, isLast: Bool) throws(ImportError) -> JSONText {
        let prefix = Self.recordPrefix + Array("\(number):".utf8)
        guard row.bytes.starts(with: Self.recordPrefix) else {
            throw .damaged("Row \(number) is not encrypted, but the import is: another program wrote it. Delete the row.")
        }
        guard row.bytes.starts(with: prefix), row.bytes.last == UInt8(ascii: "\""),
            let sealed = Base64.decode(row.bytes[prefix.count..<(row.bytes.count - 1)]),
            let record = self.open(sealed, kind, number, isLast: isLast)
        else { throw self.failure("Row \(number) of the import") }
        return JSONText(unchecked: record)
    }
}
