import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Health, metrics and the web UI, for operators, load balancers and dashboards.
@Suite(.hub())
struct OperationsTests {
    @Test(arguments: ["/health/live", "/health/ready", "/health/ready?strict=1"])
    func healthEndpointsReportReady(_ target: String) async throws {
        let hub = try SharedHub.hub
        let reply = try await hub.call("GET", target)
        #expect(reply.status == 200)
        #expect(reply.header("cache-control") == "no-store")
        if target.contains("ready") {
            #expect(reply.json.member("status")?.stringValue == "ready" && reply.json.member("delivery")?.stringValue == "ok")
        }
        let head = try await hub.call("HEAD", target)
        #expect(head.status == 200 && head.body.isEmpty)
    }

    @Test func drainingHubIsLiveButNotReady() async throws {
        try await HubProcess.running(["FLOWHUB_DRAIN_SECONDS": "6", "FLOWHUB_EVENT_LOOPS": "1"]) { hub in
            // Of two streams, the second is closed in the middle of the drain window.
            let streams = (0..<2).map { EventStreamClient(.flow("f"), port: hub.port, name: "\($0)") }
            for stream in streams {
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
            }
            let caller = HTTPCaller(port: hub.port)
            hub.requestTermination()
            var ready: HTTPReply?
            try await eventually("not being ready", every: .milliseconds(5)) {
                ready = try await caller.perform(HTTPCall("GET", "/health/ready"))
                return ready?.status == 503
            }
            #expect(ready?.json.member("status")?.stringValue == "draining")
            #expect(try await caller.perform(HTTPCall("GET", "/health/live")).status == 200)
            for stream in streams {
                try await stream.waitUntilEnded()
                #expect(stream.log.newest.last?.json.string == #"{"type":"closing","reason":"drain","reconnect":true}"#)
                #expect(stream.log.newest.count { $0.retry != nil } == 2, "one at the start, another one at the end")
            }
            #expect(try await hub.waitForExit() == .code(0))
        }
    }

    @Test func exposesDocumentedMetricsWithCorrectValues() async throws {
        try await HubProcess.running { hub in
            let documented = try Self.document("OPERATIONS.md").split(separator: "\n").filter {
                $0.hasPrefix("| `flowhub_") || $0.hasPrefix("| `process_")
            }
            .flatMap {
                $0.split(separator: "|")[0].split(separator: "`").filter { $0.hasPrefix("flowhub_") || $0.hasPrefix("process_") }
            }
            .map { String($0.prefix { $0 != "{" }) }
            try #require(documented.count > 12)
            let stream = EventStreamClient(.flow("metered"), port: hub.port)
            try await stream.connect()
            _ = try await stream.next(event: "snapshot")
            for _ in 0..<3 { _ = try await hub.api.publish("a", .null, to: "metered") }
            for _ in 0..<2 { _ = try await hub.api.publish("b", .null, to: "metered", durable: false) }
            try await stream.waitUntil("five events") { $0.events("a").count + $0.events("b").count == 5 ? () : nil }
            for cursor in ["rubbish", "rubbish", "1.a-1"] {
                let lost = EventStreamClient(.flow("metered"), port: hub.port)
                try await lost.connect(.text(cursor))
                _ = try await lost.next(event: "snapshot")
            }
            let reply = try await hub.call("GET", "/metrics")
            #expect(reply.header("content-type")?.hasPrefix("text/plain; version=0.0.4") == true)
            for name in documented {
                #expect(reply.text.contains("\n# TYPE \(name) ") || reply.text.hasPrefix("# TYPE \(name) "), "\(name)")
            }
            for (name, value) in [
                ("flowhub_deliveries_total", 5.0), ("flowhub_publishes_total{durable=\"true\"}", 3),
                ("flowhub_publishes_total{durable=\"false\"}", 2),
                ("flowhub_resyncs_total{reason=\"bad_cursor\"}", 2), ("flowhub_resyncs_total{reason=\"epoch\"}", 1),
                ("flowhub_resyncs_total{reason=\"history_pruned\"}", 0), ("flowhub_watched_flows", 1),
                ("flowhub_delivery_status{status=\"ok\"}", 1),
                ("flowhub_phantom_events_total", 0),
            ] { #expect(try await hub.api.metric(name) == value, "\(name)") }
            #expect(try #require(try await hub.api.metric("process_resident_memory_bytes")) > 1_000_000)
            #expect(try #require(try await hub.api.metric("process_open_fds")) > 5)
            #expect(try #require(try await hub.api.metric("process_max_fds")) >= 256)
            let started = try #require(try await hub.api.metric("process_start_time_seconds"))
            let age = Date().timeIntervalSince1970 - started
            #expect(age > -2 && age < 3_600, "\(age) s")
            let offset = try #require(try await hub.api.metric("flowhub_clock_offset_seconds"))
            #expect(abs(offset) < 2)
            // Each line is valid in the Prometheus text format.
            for line in reply.text.split(separator: "\n") where !line.hasPrefix("#") {
                #expect(line.split(separator: " ").count == 2 && Double(line.split(separator: " ")[1]) != nil, "\(line)")
            }
        }
    }

    @Test func pathsNeverBecomeMetricLabels() async throws {
        let hub = try SharedHub.hub
        for number in 0..<5 { _ = try await hub.call("GET", "/v1/flows/secret-\(number)/state") }
        _ = try await hub.call("GET", "/secret-path")
        let text = try await hub.call("GET", "/metrics").text
        #expect(!text.contains("secret") && text.contains("flowhub_http_request_seconds"))
    }

    @Test(arguments: ["/", "/page.css", "/page.js", "/favicon.svg"])
    func pageFilesHaveETagsAndSecurityHeaders(_ target: String) async throws {
        let hub = try SharedHub.hub
        let reply = try await hub.call("GET", target)
        #expect(reply.status == 200 && !reply.body.isEmpty)
        let policy = reply.header("content-security-policy") ?? ""
        #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"))
        #expect(reply.header("x-content-type-options") == "nosniff")
        let tag = try #require(reply.header("etag"))
        for condition in [tag, "W/\(tag)", "\"x\", \(tag)", "*"] {
            let repeated = try await hub.call("GET", target, headers: [("If-None-Match", condition)])
            #expect(repeated.status == 304 && repeated.body.isEmpty && repeated.header("etag") == tag, "\(condition)")
        }
        #expect(try await hub.call("GET", target, headers: [("If-None-Match", "\"x\"")]).status == 200)
        let head = try await hub.call("HEAD", target)
        #expect(head.status == 200 && head.body.isEmpty && head.header("content-length") == "\(reply.body.count)")
    }

    @Test func dateHeaderIsCurrentHTTPDate() async throws {
        let text = try #require(try await SharedHub.hub.call("GET", "/health/live").header("date"))
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "GMT")
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        let date = try #require(format.date(from: text), "\(text)")
        #expect(abs(date.timeIntervalSinceNow) < 10)
        #expect(format.string(from: date) == text)
    }

    @Test func documentedSettingsMatchBinary() async throws {
        let document = try Self.document("OPERATIONS.md")
        let begin = try #require(document.range(of: "<!-- settings"))
        let end = try #require(document.range(of: "<!-- /settings -->"))
        let table = document[begin.upperBound..<end.lowerBound].split(separator: "\n").filter { $0.hasPrefix("|") }.joined(
            separator: "\n")
        let printed = try await SettingsTests.run(["settings"]).output.split(separator: "\n").joined(separator: "\n")
        #expect(table == printed)
    }

    /// The text of a file in the folder `docs` of the repository.
    private static func document(_ name: String) throws -> String {
        var folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        while folder.path != "/" {
            folder.deleteLastPathComponent()
            let file = folder.appendingPathComponent("docs/\(name)").path
            if let bytes = FileManager.default.contents(atPath: file) { return String(decoding: bytes, as: UTF8.self) }
        }
        throw TimedOut("docs/\(name) above \(#filePath)")
    }
}
