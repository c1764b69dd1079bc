import NIOCore
import NIOHTTP1

/// Lifecycle rules. The S3 server does not support them, so the proxy stores them and returns them unchanged.
extension R2Exchange {
    func serveLifecycle() async throws {
        let body = Array(buffer: try await self.client.wholeBody())
        guard self.isSigned(body) else {
            return try await self.client.replyError(403, code: "SignatureDoesNotMatch", "The signature does not match.")
        }
        let bucket = self.client.request.bucket
        switch self.client.request.operation {
        case .putLifecycle:
            guard String(decoding: body, as: UTF8.self).contains("<Rule>") else {
                return try await self.client.replyError(400, code: "MalformedXML", "There is no rule.")
            }
            self.client.state.change { $0.lifecycles[bucket] = body }
            try await self.client.reply(200)
        case .deleteLifecycle:
            self.client.state.change { $0.lifecycles[bucket] = nil }
            try await self.client.reply(204)
        default:
            guard let rules = self.client.state.read({ $0.lifecycles[bucket] }) else {
                return try await self.client.replyError(
                    404, code: "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist.")
            }
            try await self.client.reply(200, xml: String(decoding: rules, as: UTF8.self))
        }
    }

    /// Whether the request's signature is correct, including the hash of the body.
    private func isSigned(_ body: [UInt8]) -> Bool {
        let headers = self.head.headers
        guard let authorization = headers.first(name: "authorization"), let time = headers.first(name: "x-amz-date"),
            let payload = headers.first(name: "x-amz-content-sha256"),
            payload == "UNSIGNED-PAYLOAD" || payload == S3Signature.sha256(body),
            let names = authorization.split(separator: "SignedHeaders=").last?.split(separator: ",").first
        else { return false }
        let signature = S3Signature(
            method: self.client.request.method, path: self.client.request.target.path,
            query: self.client.request.target.rawQuery,
            headers: names.split(separator: ";").map { (String($0), headers[String($0)].joined(separator: ",")) },
            payload: payload, time: time)
        return authorization.filter { $0 != " " } == signature.authorization.filter { $0 != " " }
    }
}
