import HTTPTypes
import NIOCore
import NIOHTTP1
import Testing

@testable import FlowHTTP

/// How ordinary responses are framed.
@Suite struct ResponseEncoderTests {
    private static func text(
        _ response: HTTPResponse, readsChunks: Bool = true, hasBody: Bool = true, _ parts: [String] = []
    ) -> String {
        var encoder = ResponseEncoder()
        var text = String(buffer: encoder.head(response, readsChunks: readsChunks, hasBody: hasBody))
        for part in parts { encoder.body(ByteBuffer(string: part)) { text += String(buffer: $0) } }
        return text + (encoder.end.map { String(buffer: $0) } ?? "")
    }

    @Test func bodyIsFramedByWhatTheClientReads() {
        let sized = HTTPResponse(status: .ok, headerFields: [.contentLength: "3", .date: "now"])
        #expect(Self.text(sized, ["a", "bc"]) == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: now\r\n\r\nabc")
        let unsized = HTTPResponse(status: .ok)
        let body = String(repeating: "x", count: 26)
        #expect(
            Self.text(unsized, ["a", "", body])
                == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1a\r\n\(body)\r\n0\r\n\r\n")
        #expect(Self.text(unsized, readsChunks: false, ["a"]) == "HTTP/1.1 200 OK\r\n\r\na")
        #expect(ResponseEncoder.endsWithConnection(unsized, readsChunks: false))
        #expect(!ResponseEncoder.endsWithConnection(unsized, readsChunks: true))
        #expect(!ResponseEncoder.endsWithConnection(sized, readsChunks: false))
    }

    @Test func responseWithoutBodyHasNone() {
        for status in [HTTPResponse.Status.noContent, .notModified] {
            let response = HTTPResponse(status: status, headerFields: [.contentLength: "0"])
            #expect(Self.text(response) == "HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\n\r\n")
            #expect(!ResponseEncoder.endsWithConnection(response, readsChunks: false))
        }
        let head = HTTPResponse(status: .ok, headerFields: [.contentLength: "3"])
        #expect(Self.text(head, hasBody: false) == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        #expect(Self.text(HTTPResponse(status: .ok), hasBody: false) == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    }

    @Test func headTellsWhetherConnectionIsKept() throws {
        func head(_ version: HTTPVersion, _ fields: HTTPHeaders = [:]) throws -> RequestHead {
            var all = fields
            all.add(name: "Host", value: "localhost")
            return try RequestHead(HTTPRequestHead(version: version, method: .GET, uri: "/", headers: all))
        }
        #expect(try head(.http1_1).isKeepAlive && head(.http1_1).readsChunks)
        #expect(try !head(.http1_1, ["Connection": "close"]).isKeepAlive)
        #expect(try !head(.http1_1, ["Connection": "x, Close ; y"]).isKeepAlive)
        #expect(try !head(.http1_1, ["Connection": "Upgrade", "Upgrade": "h2c"]).isKeepAlive)
        #expect(try !head(.http1_0).isKeepAlive && !head(.http1_0).readsChunks)
        let old = try head(.http1_0, ["Connection": "keep-alive"])
        #expect(old.isKeepAlive && !old.readsChunks)
    }
}
