import FlowCore
import FlowTestKit
import Testing

/// A proxy that compresses responses changes their tags. They still are the versions that they were.
struct CompressingProxyTests {
    /// `gzip on` as administrators write it, for the responses of the hub too.
    private static let compression =
        "    gzip on;\n    gzip_proxied any;\n    gzip_min_length 1;\n    gzip_types application/json text/event-stream;\n\n    server {\n"

    @Test func tagOfCompressedStateIsAcceptedInConditions() async throws {
        try await HubProcess.running { hub in
            try await ReverseProxy.running(.nginx, before: [hub.port], replacing: [("    server {\n", Self.compression)]) {
                proxy in
                #expect(try await hub.api.put("f", jsonText(#"{"a":1}"#)).status == 201)
                func call(_ method: String, _ headers: [(name: String, value: String)], _ body: String? = nil) async throws
                    -> HTTPReply
                {
                    try await HTTPCaller(port: proxy.port).perform(
                        HTTPCall(
                            method, "/v1/flows/f/state", headers: headers + [("Accept-Encoding", "gzip")],
                            body: body.map { Array($0.utf8) }))
                }
                let read = try await call("GET", [])
                let tag = try #require(read.header("etag"))
                #expect(read.header("content-encoding") == "gzip" && tag.hasPrefix("W/\""), "\(read)")
                #expect(try await call("GET", [("If-None-Match", tag)]).status == 304)
                let changed = try await call("PATCH", [("If-Match", tag), ("Content-Type", "application/json")], #"{"a":2}"#)
                #expect(changed.status == 200, "\(changed.status)")
                // It was changed since.
                #expect(
                    try await call("PATCH", [("If-Match", tag), ("Content-Type", "application/json")], #"{"a":3}"#).status == 412)
                #expect(try await call("GET", [("If-None-Match", tag)]).status == 200)
                #expect(try await hub.api.state(of: "f")?.state.string == #"{"a":2}"#)
            }
        }
    }

    /// What other proxies append.
    @Test(arguments: ["-gzip", "--gzip", ";gzip", "-br", ":zstd"]) func tagWithAppendedCodingIsAccepted(_ suffix: String)
        async throws
    {
        try await HubProcess.running { hub in
            #expect(try await hub.api.put("f", jsonText(#"{"a":1}"#)).status == 201)
            let own = try #require(try await hub.api.state(of: "f")?.tag)
            let tag = own.dropLast() + suffix + "\""
            #expect(try await hub.call("GET", "/v1/flows/f/state", headers: [("If-None-Match", String(tag))]).status == 304)
            let reply = try await hub.call("PATCH", "/v1/flows/f/state", headers: [("If-Match", String(tag))], body: #"{"a":2}"#)
            #expect(reply.status == 200, "\(reply.text)")
            let published = try await hub.call(
                "POST", "/v1/flows/f/events", headers: [("If-Match", "W/" + tag)], body: #"{"type":"a"}"#)
            #expect(published.status == 412 && published.problemCode == "precondition_failed")
            let page = try #require(try await hub.call("GET", "/page.js").header("etag"))
            let cached = try await hub.call(
                "GET", "/page.js", headers: [("If-None-Match", "W/" + page.dropLast() + suffix + "\"")])
            #expect(cached.status == 304)
        }
    }
}
