/// Limits and intervals of imports. Those that name a setting can be configured.
public struct ImportConfiguration: Hashable, Sendable {
    /// `FLOWHUB_MAX_IMPORTS`: maximum number of concurrent imports. Each needs about 40 MiB of memory.
    public var maximumImports = 4
    /// `FLOWHUB_MAX_ACCOUNT_IMPORTS`: maximum number of concurrent imports of one account. The default is one less
    /// than ``maximumImports``, but at least 1, so that one account cannot occupy them all.
    public var maximumAccountImports: Int {
        get { self.ownAccountImports ?? max(1, self.maximumImports - 1) }
        set { self.ownAccountImports = newValue }
    }
    private var ownAccountImports: Int?
    /// `FLOWHUB_MAX_IMPORT_BYTES`: maximum size of one import in bytes, uncompressed.
    public var maximumBytes = 107_374_182_400
    /// `FLOWHUB_MAX_IMPORT_RATIO`: maximum ratio of uncompressed to compressed bytes of a gzip body, and of document
    /// bytes to input bytes. It is checked beyond 64 MiB.
    public var maximumRatio = 250
    /// Target size of a gzip member in bytes, uncompressed. A member ends with the record that reaches it.
    public var memberBytes = 1_048_576
    /// `FLOWHUB_IMPORT_CLAIM_SECONDS`: duration of a claim. Another instance may sweep an import whose claim was not
    /// renewed for this long.
    public var claimSeconds = 60
    /// `FLOWHUB_IMPORT_PROGRESS_MS`: minimum interval between two `import_progress` events of one import, in
    /// milliseconds.
    public var progressMilliseconds: Int64 = 250
    /// `FLOWHUB_IMPORT_CACHE_SECONDS`: time that a sample or a schema analysis stays cached.
    public var cacheSeconds = 3_600
    /// `FLOWHUB_MAX_RECORDS`: maximum number of records that one `records` request returns.
    public var maximumRecords = 1_000
    /// Maximum bytes of the records in one response or sample. A single record may be larger.
    public var answerBytes = 8_388_608
    /// `FLOWHUB_DOWNLOAD_SECONDS`: lifetime of a download link.
    public var downloadSeconds = 300
    /// Number of records from which a schema analysis reads a sample instead of all records.
    public var analysisRecords = 10_000
    /// Maximum number of records in the sample of a schema analysis.
    public var sampleRecords = 5_000
    /// Maximum number of gzip members from which that sample is taken.
    public var sampleMembers = 50
    /// Maximum uncompressed bytes that the analysis of a sample reads, except that it reads at least one member.
    public var sampleBytes = 67_108_864
    public var limits = ImportLimits()
    public var schema = SchemaLimits()

    public init() {}
}
