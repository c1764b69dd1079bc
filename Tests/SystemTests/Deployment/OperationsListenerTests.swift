import FlowCore
import FlowTestKit
import Testing

/// `FLOWHUB_OPS_PORT`: metrics and health on a port of their own.
@Suite struct OperationsListenerTests {
    private static let all = ["/metrics", "/health/storage", "/health/live", "/health/ready"]

    /// Runs a hub with an operations listener on a free port.
    private static func running(
        _ environment: [String: String] = [:], _ body: (HubProcess, HubAPI) async throws -> Void
    ) async throws {
        try await Self.runningOnPort(environment) { hub, port in try await body(hub, HubAPI(port: port)) }
    }

    private static func runningOnPort(
        _ environment: [String: String], _ body: (HubProcess, Int) async throws -> Void
    ) async throws {
        let environment = environment.merging(["FLOWHUB_OPS_PORT": "0"]) { $1 }
        try await HubProcess.running(environment) { hub in
            let line = try #require(hub.log.split(separator: "\n").first { $0.contains("Serving metrics and health") })
            let port = try #require(line.split(separator: ":").last.flatMap { Int($0.prefix { $0.isNumber }) })
            try await body(hub, port)
        }
    }

    @Test func servesMetricsAndStorageHealthOnOwnPortOnly() async throws {
        try await Self.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub, operations in
            for path in Self.all {
                let reply = try await operations.call("GET", path)
                #expect(reply.status == 200, "\(path)")
                let isPublic = path == "/health/live" || path == "/health/ready"
                #expect(try await hub.api.call("GET", path).status == (isPublic ? 200 : 404), "\(path)")
            }
            let token = TestToken().header
            for path in ["/", "/page.js", "/v1/flows", "/v1/flows/f/events", "/v1/feed", "/v1/imports"] {
                let reply = try await operations.with(header: token.name, token.value).call("GET", path)
                #expect(reply.status == 404 && reply.json.member("code")?.stringValue == "not_found", "\(path)")
            }
            for path in ["/v1/imports", "/v1/flows/f/events"] {
                let reply = try await operations.with(header: token.name, token.value).call("POST", path, .emptyObject)
                #expect(reply.status == 404, "\(path)")
            }
            #expect(try await operations.metric("flowhub_connections") == 0)
        }
    }

    @Test(arguments: [[:], ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_CORS_ORIGINS": "*,https://app.example"]])
    func answersNoWebPage(_ environment: [String: String]) async throws {
        try await Self.runningOnPort(environment) { _, port in
            let operations = HubAPI(port: port)
            for path in Self.all {
                for origin in ["https://evil.example", "https://app.example", "null"] {
                    let reply = try await operations.with(header: "Origin", origin).call("GET", path)
                    #expect(reply.status == 403 && reply.header("access-control-allow-origin") == nil, "\(path) \(origin)")
                }
                let exchange = try await RawExchange.open(port: port)
                defer { exchange.close() }
                try await exchange.send("GET \(path) HTTP/1.1\r\nHost: rebind.evil.example:\(port)\r\n\r\n")
                #expect(try await exchange.replies(1)[0].status == 421, "\(path)")
                #expect(try await operations.call("GET", path).status == 200)
            }
        }
    }

    /// Connections of clients do not keep metrics from being read, and metrics can be read while the hub drains.
    @Test func answersAtConnectionLimitAndWhileDraining() async throws {
        let environment = [
            "FLOWHUB_MAX_ORDINARY_CONNECTIONS": "16", "FLOWHUB_EVENT_LOOPS": "1", "FLOWHUB_DRAIN_SECONDS": "4",
        ]
        try await Self.running(environment) { hub, operations in
            let streams = (0..<2).map { EventStreamClient(.flow("f"), port: hub.port, name: "\($0)") }
            for stream in streams {
                try await stream.connect()
                _ = try await stream.next(event: "snapshot")
            }
            var idle: [RawExchange] = []
            for _ in 0..<20 { idle.append(try await RawExchange.open(port: hub.port)) }
            #expect(try await operations.metric("flowhub_connections") == 2)
            hub.requestTermination()
            try await eventually("not being ready") { try await operations.call("GET", "/health/ready").status == 503 }
            let haproxy = try await operations.call("GET", "/health/ready?draining=404")
            #expect(haproxy.status == 404 && haproxy.json.member("status")?.stringValue == "draining")
            #expect(haproxy.header("connection") == "close")
            #expect(try await operations.metric("flowhub_connections") ?? 0 > 0)
            for exchange in idle { exchange.close() }
            #expect(try await hub.waitForExit() == .code(0))
        }
    }

    /// Causes of failures may name the bucket, hosts and users.
    @Test func publicStorageHealthHidesCauses() async throws {
        let environment = [
            "R2_ENDPOINT": "http://127.0.0.1:1", "R2_BUCKET_NAME": "secret-bucket", "R2_ACCESS_KEY_ID": "a",
            "R2_SECRET_ACCESS_KEY": "b", "FLOWHUB_R2_ATTEMPTS": "1",
        ]
        try await HubProcess.running(environment) { hub in
            let reply = try await hub.api.call("GET", "/health/storage")
            let error = reply.json.member("services")?.member("r2")?.member("error")?.stringValue
            #expect(error == "the probe failed; the hub's log has the cause", "\(reply.text)")
            let line = hub.log.split(separator: "\n").first { $0.contains("Storage probe failed") }
            #expect(line?.contains("component=r2") == true && line?.contains("cannot connect") == true, "\(line ?? "no line")")
        }
        try await Self.running(environment) { _, operations in
            let reply = try await operations.call("GET", "/health/storage")
            let error = reply.json.member("services")?.member("r2")?.member("error")?.stringValue ?? ""
            #expect(error.contains("cannot connect"), "\(reply.text)")
        }
    }

    @Test func namesPortInUse() async throws {
        try await HubProcess.running { hub in
            let other = try await hub.command(
                ["serve"], adding: ["PORT": "0", "FLOWHUB_OPS_PORT": "\(hub.port)", "FLOWHUB_DATA": hub.folder.path + "/other"])
            #expect(other.exit == .code(1) && other.errors.contains("Port \(hub.port) is in use"), "\(other.errors)")
            #expect(other.errors.contains("FLOWHUB_OPS_PORT"))
        }
    }
}
