public import FlowCore
import Foundation
public import Logging

/// ``ObjectStore`` for a bucket of Cloudflare R2, over its S3 interface (HTTP/1.1 by libcurl, requests signed by the
/// hub). Safe to use from any task.
///
/// An upload never replaces an object. Its bytes are verified by MD5 and SHA-256 in transit and by the ETag afterwards.
/// By its upload marker, the upload recognizes its own object. Requests that fail temporarily are retried; see
/// ``R2Limits``.
public final class R2ObjectStore: ObjectStore {
    let client: R2Client

    public let provider = "r2"
    public var bucket: String { self.client.settings.bucket }

    /// Starts the thread that sends the requests. Sends no request yet.
    /// - Parameters:
    ///   - observer: called for each operation.
    ///   - now: current time, with which requests are signed. R2 rejects a time more than 15 minutes from its own clock.
    /// - Throws: ``R2SettingsError`` if a setting is invalid, a file cannot be read, or no thread can be created.
    public init(
        _ settings: R2Settings, logger: Logger, now: @escaping @Sendable () -> Timestamp,
        observer: @escaping R2Observer = { _ in }
    ) throws(R2SettingsError) {
        guard R2Limits.partBytesRange.contains(settings.limits.partBytes) else {
            throw R2SettingsError(
                "FLOWHUB_R2_PART_BYTES", "must be from 5242880 to 536870912, not \(settings.limits.partBytes).")
        }
        if let authorities = settings.authorities, !FileManager.default.isReadableFile(atPath: authorities) {
            throw R2SettingsError("FLOWHUB_R2_CA", "must be the path of a readable file of certificates (PEM).")
        }
        let transport: Transport
        do throws(TransportError) {
            transport = try Transport(settings.limits.transport, authorities: settings.authorities)
        } catch {
            throw R2SettingsError(
                "R2_ENDPOINT", "cannot be used: the hub has not enough memory, or cannot start another thread.")
        }
        self.client = R2Client(
            settings: settings, transport: transport, credentials: try CredentialsProvider(settings.source, logger: logger),
            signer: Signer(region: settings.region), logger: logger, observer: observer, now: now)
    }

    /// Fails the requests in flight, and waits until the thread that sends the requests has ended.
    public func close() async { await self.client.transport.close() }

    /// Reads the credentials file now if it has changed.
    /// - Returns: whether the credentials in use are those of the file; `true` without a file.
    public func reloadCredentials() -> Bool { self.client.credentials.reload() }

    // MARK: ObjectStore

    /// Prepares an upload. No request is sent before the first part is full or the upload is finished.
    public func upload(_ key: String, _ attributes: ObjectAttributes) async throws(ObjectError) -> any ObjectUpload {
        try ObjectRules.check(key: key)
        try ObjectRules.check(attributes)
        return R2Upload(self.client, key, attributes)
    }

    /// Sends the request for an object or a range of it, and waits for the response head.
    public func download(_ key: String, range: Range<Int>?) async throws(ObjectError) -> any ObjectDownload {
        try ObjectRules.check(key: key)
        return try await R2Download.open(self.client, key, range)
    }

    /// Reads the attributes of an object. A missing bucket looks like a missing object, because R2's response to a HEAD
    /// has no body.
    /// - Returns: `nil` if the object does not exist.
    public func head(_ key: String) async throws(ObjectError) -> ObjectInfo? {
        try ObjectRules.check(key: key)
        do throws(R2Failure) { return try await self.client.head(key)?.info } catch { throw self.error(error) }
    }

    /// Deletes an object from the bucket. A missing object is not an error.
    public func delete(_ key: String) async throws(ObjectError) {
        try ObjectRules.check(key: key)
        do throws(R2Failure) { try await self.client.delete(key) } catch { throw self.error(error) }
    }

    /// Lists up to `limit` objects whose keys start with `prefix` and are above `after`, if given, in the byte order of their
    /// keys. Sends as many requests as that needs.
    public func list(prefix: String, after: String?, limit: Int) async throws(ObjectError) -> ObjectList {
        try ObjectRules.check(prefix: prefix)
        if let after { try ObjectRules.check(prefix: after) }
        guard limit > 0 else { throw .invalid("The limit of a list of objects must be at least 1, not \(limit).") }
        do throws(R2Failure) {
            return try await self.client.list(prefix: prefix, after: after, limit: limit)
        } catch {
            throw self.error(error)
        }
    }

    /// Makes a download link that is valid for `seconds` and makes a browser save the object as `fileName`. Sends no
    /// request: the object may be missing. Never returns `nil`.
    public func presign(_ key: String, seconds: Int, fileName: String) throws(ObjectError) -> String? {
        try ObjectRules.check(key: key)
        try ObjectRules.check(linkSeconds: seconds)
        let request = SignableRequest(
            method: "GET", host: self.client.settings.endpoint.host, path: self.client.path(key),
            query: [NamedValue("response-content-disposition", ContentDisposition.attachment(fileName))])
        return self.client.signer.presign(
            request, self.client.credentials.current().credentials, at: self.client.now(),
            scheme: self.client.settings.endpoint.scheme, seconds: seconds
        ).url
    }

    /// Converts a failure to the error that the methods of the object store throw.
    func error(_ failure: R2Failure) -> ObjectError { ObjectError(failure, bucket: self.bucket) }
}
