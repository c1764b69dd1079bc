import FlowCore
import FlowTestKit
import Testing

extension ImportSystemTests {
    /// Tests of `/health/storage` and of the storage metrics.
    @Suite struct StorageHealthTests {
        private struct Answer {
            var status: Int
            var overall: String?
            var services: [String: String]
            var json: JSONText
            var duration: Duration
        }

        private static func ask(_ cluster: ImportClusterFixture) async throws -> Answer {
            let began = ContinuousClock.now
            let reply = try await cluster.hub.call("GET", "/health/storage")
            var services: [String: String] = [:]
            for (name, service) in reply.json.member("services")?.members ?? [] {
                services[name] = service.member("status")?.stringValue
            }
            return Answer(
                status: reply.status, overall: reply.json.member("overall")?.stringValue, services: services, json: reply.json,
                duration: ContinuousClock.now - began)
        }

        @Test(arguments: ImportTopology.allCases)
        func reportsHealthyServicesWithoutLeavingObjects(_ topology: ImportTopology) async throws {
            try await ImportClusterFixture.running(topology, ["FLOWHUB_STORAGE_HEALTH_SECONDS": "1"]) { cluster in
                let answer = try await Self.ask(cluster)
                #expect(answer.status == 200 && answer.overall == "healthy", "\(answer.json.string)")
                #expect(answer.json.members.map(\.key) == ["timestamp", "services", "overall"])
                #expect(answer.services == ["r2": "healthy", "redis": "healthy", "postgres": "healthy"])
                func provider(_ name: String) -> String? {
                    answer.json.member("services")?.member(name)?.member("provider")?.stringValue
                }
                #expect(provider("r2") == topology.provider)
                #expect(provider("redis") == (topology == .r2 ? "redis" : "in-process"))
                #expect(provider("postgres") == (topology == .embedded ? "sqlite" : "postgres"))
                #expect(try await cluster.keys().isEmpty)
                #expect(try await cluster.uploads() == 0)
                // The result is cached for 1 s, for all requests.
                let again = try await Self.ask(cluster)
                #expect(again.json == answer.json)
                try await eventually("another probe") { try await Self.ask(cluster).json != answer.json }
                #expect(try await cluster.keys().isEmpty)
            }
        }

        @Test func reportsOutagesAndRecovery() async throws {
            let settings = ["FLOWHUB_STORAGE_HEALTH_SECONDS": "1", "FLOWHUB_R2_ATTEMPTS": "2"]
            try await ImportClusterFixture.running(.r2, settings) { cluster in
                #expect(try await Self.ask(cluster).overall == "healthy")
                try await SharedS3.server.kill()
                do {
                    try await eventually("R2 to be reported as unhealthy", within: .seconds(40)) {
                        try await Self.ask(cluster).services["r2"] == "unhealthy"
                    }
                    let answer = try await Self.ask(cluster)
                    #expect(answer.status == 200 && answer.overall == "degraded", "\(answer.json.string)")
                    #expect(answer.services["postgres"] == "healthy" && answer.services["redis"] == "healthy")
                    #expect(answer.json.member("services")?.member("r2")?.member("error")?.stringValue?.isEmpty == false)
                    #expect(!answer.json.string.contains(S3Server.secretKey))
                    var fresh = answer
                    try await eventually("another probe", within: .seconds(40)) {
                        fresh = try await Self.ask(cluster)
                        return fresh.json != answer.json
                    }
                    #expect(fresh.duration < .seconds(15), "\(fresh.duration)")
                    // Streams and flows are not affected.
                    #expect(try await cluster.hub.call("GET", "/health/ready").status == 200)
                    #expect(try await cluster.hub.api.put("f", .emptyObject).isAcknowledged)
                } catch {
                    try await SharedS3.server.start()
                    throw error
                }
                try await SharedS3.server.start()
                try await eventually("R2 to be healthy again", within: .seconds(60)) {
                    try await Self.ask(cluster).overall == "healthy"
                }

                try await SharedPostgres.server.kill()
                do {
                    try await eventually("Postgres to be reported as unavailable", within: .seconds(40)) {
                        try await Self.ask(cluster).status == 503
                    }
                    let answer = try await Self.ask(cluster)
                    #expect(answer.overall == "unhealthy" && answer.services["postgres"] == "unhealthy", "\(answer.json.string)")
                    #expect(answer.services["r2"] == "healthy")
                } catch {
                    try await SharedPostgres.server.start()
                    throw error
                }
                try await SharedPostgres.server.start()
                try await eventually("Postgres to be healthy again", within: .seconds(60)) {
                    try await Self.ask(cluster).overall == "healthy"
                }
                #expect(try await cluster.keys().isEmpty)
            }
        }

        @Test func countsObjectOperationsInTotalAndPerDay() async throws {
            try await ImportClusterFixture.running(.r2, ["FLOWHUB_R2_ATTEMPTS": "1"]) { cluster in
                let names = [
                    "flowhub_object_operations_total{operation=\"put\",result=\"success\"}",
                    "flowhub_object_operations_total{operation=\"put\",result=\"failure\"}",
                    "flowhub_object_operations_total{operation=\"get\",result=\"success\"}",
                    "flowhub_object_operations_total{operation=\"delete\",result=\"success\"}",
                    "flowhub_object_bytes_total{operation=\"put\"}", "flowhub_object_bytes_total{operation=\"get\"}",
                    "flowhub_imports_total{result=\"stored\"}", "flowhub_imports_total{result=\"failed\"}",
                    "flowhub_import_records_total", "flowhub_import_bytes_total",
                ]
                for name in names { #expect(try await cluster.hub.api.metric(name) == 0, "\(name)") }
                let entry = try await cluster.hub.store(TestUpload(ImportOracle.records(100).joined(separator: "\n")))
                _ = try await cluster.hub.records(entry.id, from: 10)
                try cluster.proxy.inject(.internalError, on: .putObject)
                let failed = try await cluster.hub.send(TestUpload("[1]"))
                #expect(failed.status == 503 && failed.problemCode == "objects_unavailable", "\(failed.text)")
                #expect(try await cluster.hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 204)
                let size = Double(try #require(entry.number("size_bytes")))
                #expect(try await cluster.hub.api.metric(names[4]) ?? 0 >= size)
                #expect(try await cluster.hub.api.metric(names[5]) == size)
                #expect(try await cluster.hub.api.metric("flowhub_import_records_total") == 100)
                #expect(
                    try await cluster.hub.api.metric("flowhub_import_bytes_total").map { Int($0) }
                        == entry.number("original_size_bytes"))
                for name in names { #expect(try await cluster.hub.api.metric(name) ?? 0 > 0, "\(name)") }
                let day = try await TestTools.python(
                    "import datetime; print(datetime.datetime.now(datetime.UTC).strftime('%Y%m%d'))")
                for (name, least) in [
                    ("metric:r2:put:success", 1), ("metric:r2:put:failure", 1), ("metric:r2:get:success", 1),
                    ("metric:r2:delete:success", 1),
                ] {
                    try await eventually("\(name):\(day)") {
                        try await Int(SharedRedis.server.command(["GET", "\(name):\(day)"])) ?? 0 >= least
                    }
                }
            }
        }
    }
}
