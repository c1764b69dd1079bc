/// Endpoint, bucket and credentials of the object store.
public struct R2Settings: Sendable {
    /// Source of the credentials.
    enum Source: Hashable, Sendable {
        /// Credentials that do not change while the hub runs.
        case fixed(R2Credentials)
        /// Path of a JSON file that is reloaded when it changes; see ``CredentialsProvider``.
        case file(String)
    }

    let endpoint: R2Endpoint
    public let bucket: String
    let source: Source
    /// R2's only region.
    let region = "auto"
    /// Path of a file of certificates (PEM) to trust instead of the system's (`FLOWHUB_R2_CA`).
    public var authorities: String?
    public var limits = R2Limits()

    /// Names of the environment variables that ``read(_:)`` uses.
    public static let keys = [
        "R2_ACCOUNT_ID", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME", "R2_ENDPOINT", "R2_SESSION_TOKEN",
        "FLOWHUB_R2_JURISDICTION", "FLOWHUB_R2_CREDENTIALS", "FLOWHUB_R2_CA",
    ]

    /// Bucket and endpoint, for people. Without the keys.
    public var summary: String { "\(self.bucket) at \(self.endpoint.scheme)://\(self.endpoint.host)" }

    /// Creates settings with credentials that do not change while the hub runs.
    public init(endpoint: String, bucket: String, credentials: R2Credentials) throws(R2SettingsError) {
        try self.init(R2Endpoint(url: endpoint), bucket: bucket, .fixed(credentials))
    }

    private init(_ endpoint: R2Endpoint, bucket: String, _ source: Source) throws(R2SettingsError) {
        guard Self.isBucket(bucket) else {
            throw R2SettingsError(
                "R2_BUCKET_NAME", "must be the name of a bucket: 3 to 63 characters of a-z, 0-9, hyphen and dot.")
        }
        self.endpoint = endpoint
        self.bucket = bucket
        self.source = source
    }

    /// Reads the settings from environment variables.
    ///
    /// - `R2_BUCKET_NAME`: the bucket.
    /// - `R2_ACCOUNT_ID` with `FLOWHUB_R2_JURISDICTION` (`eu`, `fedramp` or empty), or instead `R2_ENDPOINT`
    ///   (`https://host[:port]`).
    /// - `FLOWHUB_R2_CREDENTIALS`: a JSON file `{"access_key_id", "secret_access_key", "session_token"?}`, or instead
    ///   `R2_ACCESS_KEY_ID`, `R2_SECRET_ACCESS_KEY` and, for temporary credentials, `R2_SESSION_TOKEN`. A change of the file
    ///   is found while the hub runs; a change of the three variables needs a restart.
    /// - `FLOWHUB_R2_CA`: a file of certificates (PEM) to trust instead of the system's.
    ///
    /// All credentials are in one file, not in one file per value. A file can be replaced atomically (by renaming, as
    /// Kubernetes does with its secrets), so that an old key is never combined with a new secret.
    ///
    /// - Parameter value: returns the value of a variable; `nil` or empty if it is not set.
    /// - Returns: `nil` if none of the variables is set.
    /// - Throws: ``R2SettingsError`` if a value is missing or invalid.
    public static func read(_ value: (String) -> String?) throws(R2SettingsError) -> R2Settings? {
        func text(_ key: String) -> String? { value(key).flatMap { $0.isEmpty ? nil : $0 } }
        guard Self.keys.contains(where: { text($0) != nil }) else { return nil }

        guard let bucket = text("R2_BUCKET_NAME") else {
            throw R2SettingsError("R2_BUCKET_NAME", "must be set to the name of the bucket, because other R2 settings are set.")
        }
        let jurisdiction = text("FLOWHUB_R2_JURISDICTION") ?? ""
        let endpoint: R2Endpoint
        if let url = text("R2_ENDPOINT") {
            guard jurisdiction.isEmpty else {
                throw R2SettingsError(
                    "FLOWHUB_R2_JURISDICTION",
                    "must not be set together with R2_ENDPOINT, whose host determines the jurisdiction.")
            }
            endpoint = try R2Endpoint(url: url)
        } else if let account = text("R2_ACCOUNT_ID") {
            endpoint = try R2Endpoint(account: account, jurisdiction: jurisdiction)
        } else {
            throw R2SettingsError("R2_ACCOUNT_ID", "must be set to the Cloudflare account id, unless R2_ENDPOINT is set.")
        }
        var settings = try R2Settings(endpoint, bucket: bucket, Self.source(text))
        settings.authorities = text("FLOWHUB_R2_CA")
        return settings
    }

    /// Reads where the credentials come from: a file, or variables.
    private static func source(_ text: (String) -> String?) throws(R2SettingsError) -> Source {
        if let path = text("FLOWHUB_R2_CREDENTIALS") {
            for key in ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_SESSION_TOKEN"] where text(key) != nil {
                throw R2SettingsError(
                    key, "must not be set together with FLOWHUB_R2_CREDENTIALS, whose file contains all credentials.")
            }
            return .file(path)
        }
        guard let id = text("R2_ACCESS_KEY_ID") else {
            throw R2SettingsError("R2_ACCESS_KEY_ID", "must be set, unless FLOWHUB_R2_CREDENTIALS is set.")
        }
        guard let secret = text("R2_SECRET_ACCESS_KEY") else {
            throw R2SettingsError("R2_SECRET_ACCESS_KEY", "must be set, because R2_ACCESS_KEY_ID is set.")
        }
        let credentials = R2Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: text("R2_SESSION_TOKEN"))
        guard credentials.isSendable else {
            throw R2SettingsError(
                "R2_ACCESS_KEY_ID",
                "must be printable ASCII without spaces, as must R2_SECRET_ACCESS_KEY and R2_SESSION_TOKEN.")
        }
        return .fixed(credentials)
    }

    /// Whether a text has the form of a bucket name: 3 to 63 characters of `a-z0-9-.`.
    private static func isBucket(_ name: String) -> Bool {
        (3...63).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e }
    }
}

extension R2Credentials {
    /// Whether all values are printable ASCII without spaces, so that they cannot break a header field.
    var isSendable: Bool {
        [self.accessKeyID, self.secretAccessKey, self.sessionToken ?? "-"].allSatisfy {
            !$0.isEmpty && $0.utf8.allSatisfy { (0x21...0x7e).contains($0) }
        }
    }
}
