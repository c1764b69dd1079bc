import Foundation
import NIOCore
import NIOHTTP1

/// The handling of one request by an ``R2Proxy``.
struct R2Exchange {
    let client: R2Connection
    let head: HTTPRequestHead

    init(_ client: R2Connection, _ head: HTTPRequestHead) {
        self.client = client
        self.head = head
    }

    private var request: ProxyRequest { self.client.request }
    private var state: R2ProxyState { self.client.state }

    func run() async throws {
        switch self.request.fault {
        case .answer(let status, let code, let retryAfter, let isEarly):
            var headers = HTTPHeaders(retryAfter.map { [("Retry-After", "\($0)")] } ?? [])
            if isEarly { headers.add(name: "Connection", value: "close") } else { try await self.client.discardBody() }
            try await self.client.replyError(status, code: code, "Injected by the test.", headers: headers)
            if isEarly { throw R2Connection.Ended() }
        case .resetRequest(let count):
            while self.request.bodyBytes < count, try await self.client.nextPart() != nil {}
            try await self.client.reset()
        case .errorInBody(let code, isApplied: false):
            try await self.client.discardBody()
            try await self.client.replyError(200, code: code, "Injected by the test.")
        case .stall(isApplied: false):
            try await self.client.bufferBody()
            await self.state.stall(self.client.channel) { self.client.note { $0.isStalled = true } }
            guard self.client.channel.isActive, !Task.isCancelled else { throw R2Connection.Ended() }
            try await self.serve()
        default:
            try await self.serve()
        }
    }

    /// Serves the request under R2's rules.
    private func serve() async throws {
        if try await self.isRejected() { return }
        switch self.request.operation {
        case .getLifecycle, .putLifecycle, .deleteLifecycle: try await self.serveLifecycle()
        case .completeUpload: try await self.complete()
        default:
            let isConditional = self.head.headers.contains(name: "if-none-match") && self.request.operation == .putObject
            try await self.state.inTurn(isConditional ? self.request.target.path : nil) {
                try await self.forward { try await self.client.nextPart() }
            }
        }
    }

    // MARK: R2's rules

    private func isRejected() async throws -> Bool {
        let headers = self.head.headers
        let payload = headers.first(name: "x-amz-content-sha256") ?? ""
        if payload.hasPrefix("STREAMING-") || headers["content-encoding"].contains(where: { $0.contains("aws-chunked") }) {
            return try await self.reject(501, "NotImplemented", "\(payload) not implemented")
        }
        if ["PUT", "POST"].contains(self.request.method), !headers.contains(name: "content-length") {
            return try await self.reject(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        }
        let signed = headers.first(name: "authorization")?.components(separatedBy: "SignedHeaders=").last?
            .components(separatedBy: ",")[0].components(separatedBy: ";")
        if signed?.contains("accept-encoding") == true {
            return try await self.reject(403, "SignatureDoesNotMatch", "Accept-Encoding must not be signed.")
        }
        if self.request.operation.isWriteToKey, self.state.isTooSoon(self.request.target.path) {
            return try await self.reject(429, "TooManyRequests", "Reduce your concurrent request rate for the same object.")
        }
        return false
    }

    private func reject(_ status: Int, _ code: String, _ message: String) async throws -> Bool {
        try await self.client.discardBody()
        try await self.client.replyError(status, code: code, message)
        return true
    }

    private func complete() async throws {
        let body = try await self.client.wholeBody()
        let parts = S3XML.elements("PartNumber", in: String(buffer: body)).compactMap { Int($0) }
        guard self.state.areEqual(parts, of: self.request.uploadID ?? "") else {
            return try await self.client.replyError(
                400, code: "InvalidPart", "All non-trailing parts must have the same length.")
        }
        try await self.state.inTurn(self.head.headers.contains(name: "if-none-match") ? self.request.target.path : nil) {
            var rest: ByteBuffer? = body
            try await self.forward {
                defer { rest = nil }
                return rest
            }
        }
    }

    // MARK: Forwarding

    private func forward(_ nextPart: () async throws -> ByteBuffer?) async throws {
        let decompresses =
            self.request.operation == .getObject && self.request.range == nil
            && !self.head.headers["accept-encoding"].contains { $0.contains("gzip") }
        let pace = R2Pace(self.request.fault)
        try await R2Upstream.exchange(port: self.state.serverPort, self.head, decompresses: decompresses) {
            let part = try await nextPart()
            try await pace.wait(for: part)
            return part
        } _: { replies in
            var head = try await replies.head()
            self.client.note { $0.serverStatus = Int(head.status.code) }
            head.headers.remove(name: "connection")
            if decompresses, head.headers.contains(name: "content-encoding") {
                head.headers.remove(name: "content-encoding")
                head.headers.remove(name: "content-length")
                head.headers.replaceOrAdd(name: "transfer-encoding", value: "chunked")
            }
            if self.request.operation == .headObject,
                self.head.headers["accept-encoding"].contains(where: { $0.contains("gzip") })
            {
                head.headers.remove(name: "content-length")
            }
            self.notePart(head)
            if self.request.operation == .completeUpload {
                try await self.finishCompletion(head, replies)
            } else {
                try await self.pass(head, pace, replies.nextPart)
            }
        }
    }

    private func notePart(_ head: HTTPResponseHead) {
        guard self.request.operation == .uploadPart, head.status == .ok, let upload = self.request.uploadID,
            let part = self.request.part
        else { return }
        let size = self.request.bodyBytes
        self.state.change { $0.parts[upload, default: [:]][part] = size }
    }

    /// Sends the response to a CompleteMultipartUpload. If its condition failed, aborts the upload first, as R2 does.
    private func finishCompletion(_ head: HTTPResponseHead, _ replies: R2Upstream.Replies) async throws {
        let body = try await replies.wholeBody()
        var head = head
        if S3XML.text("Code", in: String(buffer: body)) == "PreconditionFailed", let key = self.request.key,
            let upload = self.request.uploadID
        {
            head.status = .preconditionFailed
            try await S3Bucket(self.request.bucket, port: self.state.serverPort).abortUpload(key, id: upload)
        }
        head.headers.remove(name: "transfer-encoding")
        var text = String(buffer: body)
        if self.request.fault == .wrongETag {
            let etag = S3XML.elements("ETag", in: text).first ?? ""
            text = text.replacingOccurrences(of: "<ETag>\(etag)</ETag>", with: "<ETag>\(Self.wrongETag)</ETag>")
        }
        head.headers.replaceOrAdd(name: "content-length", value: "\(text.utf8.count)")
        var rest: ByteBuffer? = ByteBuffer(string: text)
        try await self.pass(head, R2Pace(nil)) {
            defer { rest = nil }
            return rest
        }
    }

    private static let wrongETag = "\"00000000000000000000000000000bad\""

    /// Sends a response to the client, with the request's fault applied.
    private func pass(_ reply: HTTPResponseHead, _ pace: R2Pace, _ nextPart: () async throws -> ByteBuffer?) async throws {
        var head = reply
        var end = Int.max
        var changedByte: Int?
        switch self.request.fault {
        case .loseReply:
            while try await nextPart() != nil {}
            try await self.client.reset()
        case .errorInBody(let code, _):
            while try await nextPart() != nil {}
            return try await self.client.replyError(200, code: code, "Injected by the test.")
        case .stall(isApplied: true):
            await self.state.stall(self.client.channel) { self.client.note { $0.isStalled = true } }
            guard self.client.channel.isActive, !Task.isCancelled else { throw R2Connection.Ended() }
        case .wrongETag where head.headers.contains(name: "etag"):
            head.headers.replaceOrAdd(name: "ETag", value: Self.wrongETag)
        case .truncateReply(let count): end = count
        case .corruptReply(let offset): changedByte = offset
        default: break
        }
        try await self.client.send(head)
        let hasBody = self.request.method != "HEAD" && ![204, 304].contains(head.status.code)
        let isChunked = hasBody && !head.headers.contains(name: "content-length")
        var offset = 0
        while var part = try await nextPart() {
            if let byte = changedByte, (offset..<offset + part.readableBytes).contains(byte) {
                let index = part.readerIndex + byte - offset
                part.setInteger((part.getInteger(at: index, as: UInt8.self) ?? 0) ^ 1, at: index)
            }
            offset += part.readableBytes
            if offset > end, let rest = part.getSlice(at: part.readerIndex, length: part.readableBytes - (offset - end)) {
                try await self.client.send(rest, isChunked: isChunked)
                throw R2Connection.Ended()
            }
            try await pace.wait(for: part)
            try await self.client.send(part, isChunked: isChunked)
        }
        if hasBody { try await self.client.sendEnd(isChunked: isChunked) }
    }
}

/// Throttles bodies to the rate of an ``R2Fault/slow(bytesPerSecond:)``.
struct R2Pace {
    private let bytesPerSecond: Int?

    init(_ fault: R2Fault?) {
        if case .slow(let bytesPerSecond) = fault { self.bytesPerSecond = bytesPerSecond } else { self.bytesPerSecond = nil }
    }

    func wait(for part: ByteBuffer?) async throws {
        guard let bytesPerSecond, let part else { return }
        try await Task.sleep(for: .seconds(Double(part.readableBytes) / Double(bytesPerSecond)))
    }
}
