import Testing

@testable import FlowCore

/// The metadata of objects, which the legacy service reads.
@Suite struct ObjectAttributesTests {
    private static func entry(
        account: String = "7", flow: String? = "f", fileName: String? = "a b.csv", sourceType: String? = "csv"
    ) -> Import {
        Import(
            id: .random(), account: account, flow: flow.flatMap { FlowID($0) }, fileName: fileName, sourceType: sourceType,
            status: .pending, createdAt: Timestamp(milliseconds: 0), provider: "r2")
    }

    @Test func metadataHasWhatIsKnownBeforeTheRecords() throws {
        let entry = Self.entry()
        let attributes = ObjectAttributes.of(entry, recordCount: 3)
        try ObjectRules.check(attributes)
        #expect(
            attributes.metadata == [
                "import_id": entry.id.rawValue, "client_account_id": "7", "discovery_flow_id": "f", "source_type": "csv",
                "file_name": "a b.csv", "record_count": "3",
            ])
        let bare = Self.entry(account: "", flow: nil, fileName: nil, sourceType: "")
        #expect(ObjectAttributes.of(bare).metadata == ["import_id": bare.id.rawValue])
    }

    @Test(arguments: [
        ("é.csv", "=?UTF-8?Q?=C3=A9.csv?="), (" a.csv", "=?UTF-8?Q?=20a.csv?="), ("a  b", "=?UTF-8?Q?a=20=20b?="),
        ("=?x", "=?UTF-8?Q?=3D=3Fx?="), ("a\r\nb", "=?UTF-8?Q?a=0D=0Ab?="), ("a=b?c.csv", "a=b?c.csv"),
    ])
    func namesThatAHeaderFieldWouldChangeAreEncoded(_ name: String, _ value: String) throws {
        let attributes = ObjectAttributes.of(Self.entry(fileName: name))
        try ObjectRules.check(attributes)
        #expect(attributes.metadata["file_name"] == value)
    }

    @Test func textsThatDoNotFitAreLeftOut() throws {
        let long = String(repeating: "n", count: 256)
        let attributes = ObjectAttributes.of(Self.entry(account: "7", fileName: long, sourceType: "csv"))
        #expect(attributes.metadata["file_name"] == nil && attributes.metadata["source_type"] == "csv")
        var all = ObjectAttributes.of(Self.entry(account: String(long.dropLast()), sourceType: String(long.dropLast())))
        all.metadata.merge(ObjectAttributes.totals(GzipMemberIndex(), dataHash: String(repeating: "f", count: 64))) { $1 }
        try ObjectRules.check(all)
    }
}
