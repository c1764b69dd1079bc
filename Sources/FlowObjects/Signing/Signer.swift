import FlowCore
import Synchronization

/// Signs requests for one region with AWS Signature Version 4. Safe to use from any task.
///
/// The result depends only on the arguments. The most recently used signing key is cached, which saves four of the five
/// HMACs of a signature.
final class Signer: Sendable {
    /// The signing key of one day, with the inputs from which it was derived.
    private struct Day: Sendable {
        let secret: String
        let day: String
        let key: [UInt8]
    }

    let region: String
    /// The signing key that was derived last; `nil` before the first signature.
    private let today = Mutex<Day?>(nil)

    init(region: String) { self.region = region }

    /// Signs a request that is sent with an `Authorization` header.
    /// - Returns: the signature, and the header fields to send in addition to the request's own, including
    ///   `Authorization`.
    func sign(
        _ request: SignableRequest, _ credentials: R2Credentials, at moment: Timestamp
    ) -> (signature: Signature, headers: [NamedValue]) {
        let date = SigV4.date(moment)
        let added = SigV4.addedHeaders(
            payloadHash: request.payloadHash, date: date, sessionToken: credentials.sessionToken)
        var signed = request
        signed.headers += [NamedValue("host", request.host)] + added
        let signature = self.signature(signed, credentials, date)
        return (signature, added + [NamedValue("Authorization", signature.authorization)])
    }

    /// A presigned URL, which needs no `Authorization` header.
    /// - Parameters:
    ///   - request: the request for which the URL is valid. Its payload hash is ignored. The client must send its header
    ///     fields unchanged.
    ///   - scheme: `https`, or `http` for tests on the loopback interface.
    ///   - seconds: lifetime of the URL, 1 to 604,800.
    func presign(
        _ request: SignableRequest, _ credentials: R2Credentials, at moment: Timestamp, scheme: String, seconds: Int
    ) -> (signature: Signature, url: String) {
        let date = SigV4.date(moment)
        var signed = request
        signed.payloadHash = SignableRequest.unsignedPayload
        signed.headers.append(NamedValue("host", request.host))
        signed.query += SigV4.addedQuery(
            credential: "\(credentials.accessKeyID)/\(date.prefix(8))/\(self.region)/s3/aws4_request", date: date,
            seconds: seconds, sessionToken: credentials.sessionToken, signedHeaders: SigV4.signedHeaders(signed.headers))
        let signature = self.signature(signed, credentials, date)
        let url =
            "\(scheme)://\(request.host)\(SigV4.canonicalPath(request.path))?\(SigV4.canonicalQuery(signed.query))"
            + "&X-Amz-Signature=\(signature.signature)"
        return (signature, url)
    }

    /// Signs a request that has all header fields and query parameters that the signature covers.
    private func signature(_ request: SignableRequest, _ credentials: R2Credentials, _ date: String) -> Signature {
        SigV4.sign(
            request, date: date, accessKeyID: credentials.accessKeyID, region: self.region,
            key: self.key(secret: credentials.secretAccessKey, day: String(date.prefix(8))))
    }

    /// The signing key of a day, from the cache if the day and the secret are those of the previous call.
    /// - Parameter day: a date such as `20260822`.
    private func key(secret: String, day: String) -> [UInt8] {
        if let cached = self.today.withLock({ $0 }), cached.secret == secret, cached.day == day { return cached.key }
        let key = SigV4.key(secret: secret, day: day, region: self.region)
        self.today.withLock { $0 = Day(secret: secret, day: day, key: key) }
        return key
    }
}
