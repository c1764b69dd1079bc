import FlowCore
import FlowTestKit
import Foundation
import Testing

/// The proxy configurations of `deploy/proxy`, each in front of real hubs.
@Suite(.serialized) struct ProxyTests {
    private static let importProgress = ["FLOWHUB_IMPORT_PROGRESS_MS": "50"]

    @Test func streamsAndUploadsPassUnbuffered() async {
        await concurrently(ReverseProxy.Kind.allCases, self.streamsAndUploadsPassUnbuffered(_:))
    }

    private func streamsAndUploadsPassUnbuffered(_ kind: ReverseProxy.Kind) async throws {
        try await HubProcess.running(Self.importProgress) { hub in
            try await ReverseProxy.running(kind, before: [hub.port]) { proxy in
                let watcher = EventStreamClient(.flow("f"), port: proxy.port)
                try await watcher.connect(.none)
                _ = try await watcher.next(event: "caught_up")
                var durations: [Duration] = []
                for number in 1...9 {
                    let start = ContinuousClock.now
                    #expect(try await proxy.api.publish("tick", .null, to: "f").isAcknowledged)
                    try await watcher.waitUntil("event \(number)") { $0.events("tick").count == number ? () : nil }
                    durations.append(ContinuousClock.now - start)
                }
                #expect(durations.sorted()[4] < .milliseconds(200), "\(kind): \(durations)")

                // 64 MiB was the limit of nginx.conf.
                let line = Array((#"{"text":""# + String(repeating: "x", count: 1_000_000) + "\"}\n").utf8)
                let lines = TestScale.pick(72, full: 220)
                let upload = try await RawExchange.open(port: proxy.port)
                defer { upload.close() }
                try await upload.send(
                    "POST /v1/imports?flow_id=f&file_name=big.ndjson HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        + "Content-Type: application/x-ndjson\r\nContent-Length: \(line.count * lines)\r\n\r\n")
                for _ in 0..<lines / 2 { try await upload.send(line) }
                _ = try await watcher.next(event: "import_progress")
                for _ in lines / 2..<lines { try await upload.send(line) }
                let reply = try #require(try await upload.replies(1, within: .seconds(60)).first)
                #expect(reply.status == 201, "\(kind): \(reply.status) \(reply.text.prefix(300))")
                #expect(reply.json.member("total_records")?.intValue == Int64(lines))
                let id = try #require(reply.json.member("id")?.stringValue)
                let data = try await proxy.api.call("GET", "/v1/imports/\(id)/data")
                #expect(data.status == 200 && data.body.count > line.count * lines - lines, "\(kind): \(data.body.count)")
            }
        }
    }

    @Test(arguments: ReverseProxy.Kind.allCases)
    func operatorsPathsDoNotPass(_ kind: ReverseProxy.Kind) async throws {
        try await HubProcess.running { hub in
            #expect(try await hub.api.call("GET", "/metrics").status == 200)
            try await ReverseProxy.running(kind, before: [hub.port]) { proxy in
                for path in [
                    "/metrics", "/metrics/", "//metrics", "/metrics?x", "/%6Detrics", "/health/storage", "/health//storage",
                    "/health/storage/", "/x/../metrics",
                ] {
                    let status = try await proxy.api.call("GET", path).status
                    #expect(status != 200, "\(kind): \(path)")
                }
                for path in ["/", "/page.js", "/health/live", "/health/ready", "/v1/flows"] {
                    let status = try await proxy.api.call("GET", path).status
                    #expect(status == 200, "\(kind): \(path)")
                }
            }
        }
    }

    /// With the hub away and with clients that disconnect: what proxies log errors of.
    @Test(arguments: ReverseProxy.Kind.allCases)
    func tokensAreNotLogged(_ kind: ReverseProxy.Kind) async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            // Caddy waits 5 s for a hub.
            try await ReverseProxy.running(
                kind, before: [hub.port], replacing: kind == .caddy ? [("lb_try_duration 5s", "lb_try_duration 100ms")] : []
            ) { proxy in
                let token = TestToken().text
                let origin = ("Origin", "https://app.example")
                func read(_ path: String) async throws -> HTTPReply {
                    let call = HTTPCall("GET", "\(path)?access_token=\(token)", headers: [origin])
                    return try await HTTPCaller(port: proxy.port).perform(call)
                }
                #expect(try await read("/v1/flows").status == 200)
                #expect(try await read("/v1/flows/none/state").status == 404)
                // One client disconnects in a stream; the hub dies during the other's.
                for disconnects in [true, false] {
                    let stream = try await RawExchange.open(port: proxy.port)
                    try await stream.send(
                        "GET /v1/flows/f/events?access_token=\(token) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                    try await eventually("the snapshot") { stream.receivedText.contains("event: caught_up") }
                    if disconnects {
                        stream.close()
                        try await eventually("the end of the stream", within: .seconds(5)) {
                            try await hub.api.metric("flowhub_connections") == 0
                        }
                    } else {
                        try await hub.kill()
                        try await stream.waitUntilClosed()
                    }
                }
                for path in ["/v1/flows/f/events", "/v1/feed", "/v1/events"] {
                    let away = try await read(path)
                    #expect(
                        away.status == 200
                            && away.text.contains(#"data: {"type":"closing","reason":"unavailable","reconnect":true}"#))
                    #expect(away.text.contains("event: closing\n") && away.text.hasPrefix("retry: "), "\(kind): \(away.text)")
                    #expect(away.header("content-type")?.hasPrefix("text/event-stream") == true)
                    #expect(away.header("access-control-allow-origin") == origin.1, "\(kind)")
                }
                let statuses = [try await read("/v1/flows").status, try await proxy.api.publish("a", .null, to: "f").status]
                #expect(statuses.allSatisfy { [502, 503].contains($0) }, "\(kind): \(statuses)")
                try await eventually("the log") { kind == .caddy || proxy.log.contains("/v1/feed") }
                let log = proxy.log
                #expect(!log.isEmpty && !log.contains(token) && !log.contains(token.suffix(20)), "\(kind): \(log)")
                if kind == .caddy { #expect(log.contains("/v1/flows"), "Caddy logged no failure") }
            }
        }
    }
}
