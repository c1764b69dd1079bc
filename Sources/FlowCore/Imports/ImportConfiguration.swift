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
    /// The value that was set for ``maximumAccountImports``; `nil` for the default.
    private var ownAccountImports: Int?
    /// `FLOWHUB_MAX_IMPORT_BYTES`: maximum size of one import in bytes. It applies to the body as sent, to the
    /// decompressed body, and to the document made from it.
    public var maximumBytes = 107_374_182_400
    /// `FLOWHUB_MAX_IMPORT_RATIO`: maximum ratio of uncompressed to compressed bytes of a gzip body, and of document
    /// bytes to body bytes after decompression. The ratio of a body is checked only beyond 64 MiB of
    /// uncompressed bytes, and that of a document only beyond 64 MiB of document bytes.
    public var maximumRatio = 250
    /// `FLOWHUB_R2_SHARE`: percentage of new imports that are stored as objects, if there is an object store; the others are
    /// stored as rows. 0 with `R2_ENABLED=false`.
    public var objectShare = 100
    /// Target size of a gzip member in bytes, uncompressed. A member ends with the record that reaches
    /// this size.
    public var memberBytes = 1_048_576
    /// `FLOWHUB_IMPORT_CLAIM_SECONDS`: duration of a worker's claim on an import, in seconds. If the claim was not
    /// renewed for this long, the import counts as interrupted, and any instance may clean it up.
    public var claimSeconds = 60
    /// `FLOWHUB_IMPORT_PROGRESS_MS`: minimum interval between two `import_progress` events of one import, in
    /// milliseconds.
    public var progressMilliseconds: Int64 = 250
    /// `FLOWHUB_IMPORT_CACHE_SECONDS`: time that a sample or a schema analysis stays cached, in seconds.
    public var cacheSeconds = 3_600
    /// `FLOWHUB_REDIS_SAMPLES`: whether samples of imports may be in the cache that instances share. If not, each instance
    /// caches them in its memory. Samples and analyses of encrypted imports never are in the shared cache.
    public var sharesSamples = true
    /// `FLOWHUB_MAX_RECORDS`: maximum number of records that one `records` request returns.
    public var maximumRecords = 1_000
    /// Number of bytes of records after which a response or a cached sample gets no further records. A single record
    /// may be larger.
    public var answerBytes = 8_388_608
    /// `FLOWHUB_DOWNLOAD_SECONDS`: lifetime of a download link, in seconds.
    public var downloadSeconds = 300
    /// An import with at least this number of records gets a schema analysis of a sample instead of all its records.
    public var analysisRecords = 10_000
    /// Maximum number of records in the sample of a schema analysis.
    public var sampleRecords = 5_000
    /// Maximum number of gzip members, or of groups of consecutive rows, that the sample of a schema analysis is read
    /// from.
    public var sampleMembers = 50
    /// Maximum uncompressed bytes that the schema analysis of a sample reads from an object. It reads at least one gzip
    /// member, even if that is larger.
    public var sampleBytes = 67_108_864
    /// Limits on the content of an import, such as the size of a record.
    public var limits = ImportLimits()
    /// Limits on what a schema analysis keeps in memory.
    public var schema = SchemaLimits()

    public init() {}
}
