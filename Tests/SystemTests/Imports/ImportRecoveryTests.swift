import FlowCore
import FlowTestKit
import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// Faults of the environment that imports recover from without a restart: rejected R2 keys, and a process without free files.
@Suite(.serialized, .s3(), .postgres()) struct ImportRecoveryTests {
    @Test func rejectedKeysAreReportedAndReplaced() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let file = folder.path + "/r2.json"
        try Self.credentials("wrong").write(toFile: file, atomically: true, encoding: .utf8)
        let environment = [
            "R2_ACCESS_KEY_ID": "", "R2_SECRET_ACCESS_KEY": "", "FLOWHUB_R2_CREDENTIALS": file,
            "FLOWHUB_STORAGE_HEALTH_SECONDS": "1", "FLOWHUB_R2_RETRY_SECONDS": "1",
        ]
        try await ImportHubFixture.running(.r2, environment) { fixture in
            let hub = fixture.hub
            for number in 0..<5 {
                let reply = try await hub.uploadImport(.small, flow: "rejected-\(number)")
                #expect(reply.status == 503 && reply.problemCode == "objects_refused", "\(reply.text)")
                #expect(reply.header("retry-after") != nil)
            }
            let lines = hub.log.split(separator: "\n").filter { $0.contains("Object store operation failed") }
            #expect((1...2).contains(lines.count), "one line per 10 s: \(lines)")
            #expect(lines.first?.contains("SignatureDoesNotMatch") == true, "\(lines)")
            let ready = try await hub.api.call("GET", "/health/ready")
            #expect(ready.status == 200 && ready.json.member("objects")?.stringValue == "failing", "\(ready.text)")
            #expect(try await hub.api.metric("flowhub_object_store_failing") == 1)
            #expect(
                try await hub.api.metric("flowhub_object_operations_total{operation=\"put\",result=\"failure\"}") ?? 0 >= 5)
            let storage = try await hub.api.call("GET", "/health/storage").json
            #expect(storage.member("services")?.member("r2")?.member("status")?.stringValue == "unhealthy")

            try Self.credentials(S3Server.secretKey).write(toFile: file, atomically: true, encoding: .utf8)
            hub.send(SIGHUP)
            try await eventually("the new credentials") { hub.log.contains("Reloaded R2 credentials file") }
            #expect(try await hub.uploadImport(.small, flow: "accepted").status == 201)
            let after = try await hub.api.call("GET", "/health/ready").json
            #expect(after.member("objects") == nil)

            try "{".write(toFile: file, atomically: true, encoding: .utf8)
            try await eventually("the report") {
                try await hub.api.call("GET", "/health/ready").json.member("reload_failed")?.elements.count == 1
            }
            #expect(try await hub.uploadImport(.small, flow: "kept").status == 201)
        }
    }

    private static func credentials(_ secret: String) -> String {
        #"{"access_key_id":"\#(S3Server.accessKey)","secret_access_key":"\#(secret)"}"#
    }

    /// No operation may open a file or socket for a while. Requests use a connection that is open already.
    @Test(arguments: [ImportHubFixture.Kind.embedded, .r2])
    func recoversFromExhaustedFileDescriptors(_ kind: ImportHubFixture.Kind) async throws {
        try await ImportHubFixture.running(kind, ["FLOWHUB_R2_RETRY_SECONDS": "1"]) { fixture in
            let hub = fixture.hub
            let api = hub.api
            #expect(try await api.publish("e", .null, to: "f").status == 201)
            try hub.setLimit(of: "nofile", to: "1")
            if kind == .r2 {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'flowhub'"
                _ = try await fixture.query(end)
                try await eventually("changes to fail") { try await api.publish("e", .null, to: "f").status == 503 }
                #expect(try await !api.isReady())
            } else {
                #expect(try await api.publish("e", .null, to: "f").status == 201)
            }
            let failed = try await api.caller.perform(ImportSample.small.call(flow: "failed"))
            #expect(failed.status == 503, "\(failed.text)")

            try hub.setLimit(of: "nofile", to: "1024")
            try await eventually("readiness", within: .seconds(10)) { try await api.isReady() }
            #expect(try await api.publish("e", .null, to: "f").status == 201)
            #expect(try await hub.uploadImport(.small, flow: "stored").status == 201)
            #expect(try await hub.api.call("GET", "/v1/flows").status == 200)
        }
    }
}
