import FlowTestKit

extension ImportClusterFixture {
    /// Starts an upload without finishing its body. Returns when the import is pending in the ledger.
    func beginImport() async throws -> RawExchange {
        let exchange = try await RawExchange.open(port: self.hub.port)
        let firstPart = Array(("[" + ImportOracle.records(9_000).joined(separator: ",")).utf8)
        try await exchange.send(Array(TestUpload([], by: .chunked).head.utf8) + TestUpload.chunk(firstPart))
        try await eventually("the import to be pending") {
            try await self.hub.api.call("GET", "/v1/imports?status=pending").text.contains("\"pending\"")
        }
        return exchange
    }

    /// Sends the rest of the body of ``beginImport()``.
    /// - Returns: the response.
    func endImport(_ exchange: RawExchange) async throws -> HTTPReply {
        try await exchange.send(TestUpload.chunk([UInt8(ascii: "]")]) + Array("0\r\n\r\n".utf8))
        return try await exchange.replies(1)[0]
    }
}
