/// The limits of imports. Each is a configuration key of the server.
public struct ImportConfiguration: Hashable, Sendable {
    /// `FLOWHUB_MAX_IMPORTS`: taken in at once. Each needs some 40 MiB.
    public var maximumImports = 4
    /// `FLOWHUB_MAX_ACCOUNT_IMPORTS`: of one account at once. Unless it is set, one less than in all, but at least one: that
    /// leaves room for others.
    public var maximumAccountImports: Int {
        get { self.ownAccountImports ?? max(1, self.maximumImports - 1) }
        set { self.ownAccountImports = newValue }
    }
    private var ownAccountImports: Int?
    /// `FLOWHUB_MAX_IMPORT_BYTES`: of one import, unpacked.
    public var maximumBytes = 107_374_182_400
    /// `FLOWHUB_MAX_IMPORT_RATIO`: unpacked by packed bytes of a body that is gzip; looked at beyond 64 MiB.
    public var maximumRatio = 250
    /// Bytes of a gzip member, unpacked. A member ends with the record that reaches them.
    public var memberBytes = 1_048_576
    /// `FLOWHUB_IMPORT_CLAIM_SECONDS`: after so long without a word another instance may give an import up.
    public var claimSeconds = 60
    /// `FLOWHUB_IMPORT_PROGRESS_MS`: between two `import_progress` events.
    public var progressMilliseconds: Int64 = 250
    /// Seconds that a sample and an analysis stay at hand.
    public var cacheSeconds = 3_600
    /// `FLOWHUB_MAX_RECORDS`: that one `records` request returns.
    public var maximumRecords = 1_000
    /// Bytes of the records in one answer, and of a sample; a single record may have more.
    public var answerBytes = 8_388_608
    /// `FLOWHUB_DOWNLOAD_SECONDS`: how long a download link is good.
    public var downloadSeconds = 300
    /// From so many records on an analysis looks at a sample.
    public var analysisRecords = 10_000
    /// Records of that sample, and the members that they are taken from.
    public var sampleRecords = 5_000
    public var sampleMembers = 50
    /// Unpacked bytes that an analysis of a sample reads.
    public var sampleBytes = 67_108_864
    public var limits = ImportLimits()
    public var schema = SchemaLimits()

    public init() {}
}
