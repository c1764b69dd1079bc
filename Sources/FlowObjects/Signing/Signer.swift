import FlowCore
import Synchronization

/// Signs requests of one region. Safe to use from any task.
///
/// What it returns depends on its arguments alone; it keeps the key of the day, which takes four of the five hashes.
final class Signer: Sendable {
    private struct Day: Sendable {
        let secret: String
        let day: String
        let key: [UInt8]
    }

    let region: String
    private let today = Mutex<Day?>(nil)

    init(region: String) { self.region = region }

    /// - Returns: the signature, and the header fields to send beside the request's own, `Authorization` among them.
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

    /// A link that does by itself what the request would do.
    /// - Parameters:
    ///   - request: its payload hash is left aside; whoever uses the link must send its headers as they are here.
    ///   - scheme: `https`, but for a test on the loopback interface.
    ///   - seconds: 1 to 604,800.
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

    private func signature(_ request: SignableRequest, _ credentials: R2Credentials, _ date: String) -> Signature {
        SigV4.sign(
            request, date: date, accessKeyID: credentials.accessKeyID, region: self.region,
            key: self.key(secret: credentials.secretAccessKey, day: String(date.prefix(8))))
    }

    private func key(secret: String, day: String) -> [UInt8] {
        if let cached = self.today.withLock({ $0 }), cached.secret == secret, cached.day == day { return cached.key }
        let key = SigV4.key(secret: secret, day: day, region: self.region)
        self.today.withLock { $0 = Day(secret: secret, day: day, key: key) }
        return key
    }
}
