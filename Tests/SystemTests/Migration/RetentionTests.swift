import FlowCore
import FlowTestKit
import Foundation
import Testing

/// What the hub deletes and checks by itself, one instance at a time.
@Suite(.serialized, .postgres(), .s3(), .redis()) struct RetentionTests {
    private static let retention = [
        "FLOWHUB_FLOW_RETENTION_SECONDS": "1", "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_LINGER_MS": "60000",
    ]

    /// Runs one hub on SQLite, or two on one Postgres.
    private static func running(
        onPostgres: Bool, _ environment: [String: String], _ body: @Sendable ([HubProcess]) async throws -> Void
    ) async throws {
        if onPostgres {
            try await PostgresHubs.running(2, on: SharedPostgres.server, environment, body)
        } else {
            try await HubProcess.running(environment) { try await body([$0]) }
        }
    }

    @Test func finishedFlowsAreDeletedWithAnEvent() async {
        await concurrently([false, true], self.finishedFlowsAreDeletedWithAnEvent(_:))
    }

    private func finishedFlowsAreDeletedWithAnEvent(_ onPostgres: Bool) async throws {
        try await Self.running(onPostgres: onPostgres, Self.retention) { hubs in
            let flows = (0..<TestScale.pick(40, full: 2_500)).map { "done-\($0)" }
            let hub = hubs[hubs.count - 1]
            let watcher = EventStreamClient(.flow(flows[0]), port: hub.port)
            _ = try await hub.api.put(flows[0], jsonText(#"{"status":"running"}"#))
            try await watcher.connect(.none)
            _ = try await watcher.next(event: "caught_up")
            #expect(try await hub.api.put("open", jsonText(#"{"status":"running"}"#)).isAcknowledged)
            for (flow, status) in zip(flows, ["completed", "failed", "cancelled"].cycled(flows.count)) {
                _ = try await hub.api.patch(flow, jsonText("{\"status\":\"\(status)\"}"))
            }
            // As after a deletion by a client: a durable event, before the stream ends.
            _ = try await watcher.next(event: "flow_deleted")
            try await eventually("all finished flows to be deleted") {
                try await hub.api.call("GET", "/v1/flows?limit=1000").json.member("flows")?.elements.count == 1
            }
            #expect(try await hub.api.state(of: "open")?.version == 1)
            for flow in flows.prefix(40) {
                let history = try #require(try await hub.api.history(of: flow))
                let types = history.events.compactMap { $0.member("type")?.stringValue }
                #expect(types.count { $0 == "flow_deleted" } == 1 && types.last == "flow_deleted", "\(flow): \(types)")
            }
            // Each deletion was made by one instance.
            var deletions = 0.0
            for hub in hubs {
                deletions += try await hub.api.metric("flowhub_retention_deletions_total{kind=\"flow\"}") ?? -1
            }
            #expect(deletions == Double(flows.count))
        }
    }

    @Test func nothingIsDeletedByDefault() async throws {
        try await HubProcess.running(["FLOWHUB_PRUNE_SECONDS": "1"]) { hub in
            let written = try await hub.api.put("done", jsonText(#"{"status":"completed"}"#))
            #expect(written.isAcknowledged)
            for task in ["retention", "import_sweep", "import_verify"] {
                #expect(try await hub.api.metric("flowhub_task_interval_seconds{task=\"\(task)\"}") == 0, "\(task)")
            }
            #expect(try await hub.api.state(of: "done") != nil)
        }
    }

    @Test func failedImportsLeaveTheLedger() async {
        await concurrently([false, true], self.failedImportsLeaveTheLedger(_:))
    }

    private func failedImportsLeaveTheLedger(_ onPostgres: Bool) async throws {
        let environment = ["FLOWHUB_FAILED_IMPORT_SECONDS": "1", "FLOWHUB_PRUNE_SECONDS": "1"]
        try await Self.running(onPostgres: onPostgres, environment) { hubs in
            let hub = hubs[0]
            let stored = try await hub.store(TestUpload("[1]"))
            let failed = try await hub.send(TestUpload("[1,"))
            #expect(failed.status == 400, "\(failed.text)")
            try await eventually("the failed import to be deleted") {
                var deletions = 0.0
                for hub in hubs {
                    deletions += try await hub.api.metric("flowhub_retention_deletions_total{kind=\"failed_import\"}") ?? 0
                }
                return deletions == 1
            }
            let list = try await hub.api.call("GET", "/v1/imports").json.member("imports")?.elements ?? []
            #expect(list.compactMap { $0.member("id")?.stringValue } == [stored.id])
        }
    }

    private static let checks = ["FLOWHUB_IMPORT_SWEEP_SECONDS": "1", "FLOWHUB_IMPORT_SWEEP_AGE_SECONDS": "0"]

    /// The value of a metric of a task, as an instance of the cluster reports it.
    private static func value(_ name: String, _ task: String, _ hub: HubProcess) async throws -> Double? {
        try await hub.api.metric("flowhub_task_\(name){task=\"\(task)\"}")
    }

    @Test func scheduledSweepRemovesOrphansAndCountsMissingObjects() async {
        await concurrently(ImportTopology.withObjects, self.scheduledSweepRemovesOrphansAndCountsMissingObjects(_:))
    }

    private func scheduledSweepRemovesOrphansAndCountsMissingObjects(_ topology: ImportTopology) async throws {
        try await ImportClusterFixture.running(topology, hubs: topology == .r2 ? 2 : 1, Self.checks) { cluster in
            let kept = try await cluster.hub.store(TestUpload("[1]"))
            let missing = try await cluster.hub.store(TestUpload("[2]"))
            try await cluster.overwrite("imports/0/2024/01/01/00000000-0000-4000-8000-00000000000a/raw_data.json.gz", [1])
            try await cluster.overwrite(#require(missing.location), nil)
            let location = try #require(kept.location)
            try await eventually("the sweep to remove the orphan") { try await cluster.keys() == [location] }
            for hub in cluster.hubs {
                try await eventually("the sweep to report the missing object") {
                    try await Self.value("problems", "import_sweep", hub) == 1
                }
            }
            try await eventually("the log to name the import") {
                cluster.hubs.contains { $0.log.contains("Object of import is missing") && $0.log.contains(missing.id) }
            }
            // Counted when the sweep has ended.
            try await eventually("the removal to be counted once") {
                var removals = 0.0
                for hub in cluster.hubs {
                    removals += try await hub.api.metric("flowhub_import_sweep_removals_total{kind=\"object\"}") ?? 0
                }
                return removals == 1
            }
        }
    }

    /// With the bucket of another database a sweep would delete what is in use.
    @Test func scheduledSweepRemovesNothingIfMostObjectsAreUnknown() async throws {
        try await ImportClusterFixture.running(.embedded, Self.checks) { cluster in
            var keys = try [#require(try await cluster.hub.store(TestUpload("[1]")).location)]
            for number in 10..<30 {
                keys.append("imports/0/2024/01/01/00000000-0000-4000-8000-0000000000\(number)/raw_data.json.gz")
            }
            // A sweep between the first object and the last would find only a few orphans, so the folder appears as a whole.
            let folder = cluster.hub.dataFolder + "/objects/stored/imports/0"
            let staging = cluster.hub.folder.path + "/staging"
            for key in keys.dropFirst() {
                let name = staging + key.dropFirst("imports/0/2024".count)
                try FileManager.default.createDirectory(
                    atPath: String(name[..<(name.lastIndex(of: "/") ?? name.startIndex)]), withIntermediateDirectories: true)
                try Data([1]).write(to: URL(fileURLWithPath: name))
            }
            try FileManager.default.moveItem(atPath: staging, toPath: folder + "/2024")
            try await eventually("the sweep to refuse") {
                cluster.hub.log.contains("Import sweep removed nothing: most objects belong to no import")
            }
            try await eventually("the problem in the metrics") {
                try await Self.value("problems", "import_sweep", cluster.hub) == 1
            }
            #expect(try await cluster.keys().sorted() == keys.sorted())
        }
    }

    @Test func scheduledVerificationFindsDamage() async {
        await concurrently(ImportTopology.allCases, self.scheduledVerificationFindsDamage(_:))
    }

    private func scheduledVerificationFindsDamage(_ topology: ImportTopology) async throws {
        let environment = ["FLOWHUB_IMPORT_VERIFY_SECONDS": "1"]
        try await ImportClusterFixture.running(topology, hubs: topology == .embedded ? 1 : 2, environment) { cluster in
            let records = ImportOracle.records(500)
            _ = try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))
            let damaged = try await cluster.hub.store(TestUpload(records.joined(separator: "\n")))
            let last = try #require(cluster.hubs.last)
            let started = try #require(try await Self.value("last_end_timestamp_seconds", "import_verify", last))
            try await eventually("a verification to end") {
                try await Self.value("last_end_timestamp_seconds", "import_verify", last) ?? 0 > started
            }
            #expect(try await Self.value("problems", "import_verify", last) == 0)
            if let location = damaged.location {
                let object = try #require(try await cluster.object(location))
                try await cluster.overwrite(location, Array(object.prefix(object.count / 2)))
            } else {
                _ = try await SharedPostgres.server.query(
                    """
                    UPDATE raw_import_records SET raw_text = '{"x":1}', raw_data = '{"x":1}'
                    WHERE data_import_id = '\(damaged.id)' AND record_index = 300
                    """, in: #require(cluster.database))
            }
            for hub in cluster.hubs {
                try await eventually("the damage in the metrics of each instance", within: .seconds(60)) {
                    try await Self.value("problems", "import_verify", hub) == 1
                }
            }
            try await eventually("the log to name the import") {
                cluster.hubs.contains { $0.log.contains("Import is damaged") && $0.log.contains(damaged.id) }
            }
        }
    }
}

extension RetentionTests {
    /// An instance that drains does not wait for R2, and another one continues at once: without the lease being given back, it
    /// would wait for a minute.
    @Test func runOfStoppedInstanceIsTakenOver() async throws {
        let environment = ["FLOWHUB_IMPORT_VERIFY_SECONDS": "20", "FLOWHUB_DRAIN_SECONDS": "0"]
        try await ImportClusterFixture.running(.r2, hubs: 2, environment) { cluster in
            _ = try await cluster.hub.store(TestUpload("[1,2]"))
            let proxy = try cluster.proxy
            proxy.inject(.stall(isApplied: false), on: .getObject)
            proxy.forget()
            // Due, as if it had never run.
            try await cluster.query("DELETE FROM hub_tasks")
            try await proxy.wait(for: "the verification to read the object", within: .seconds(30)) { requests in
                requests.contains { $0.operation == .getObject }
            }
            let instance = try await cluster.query("SELECT instance FROM hub_tasks WHERE name = 'import_verify'")
            var running: HubProcess?
            for hub in cluster.hubs {
                let own = try await hub.call("GET", "/health/ready").json.member("instance")?.stringValue
                if own == instance { running = hub }
            }
            let stopped = try #require(running)
            #expect(try await stopped.terminate(within: .seconds(10)) == .code(0))
            try await eventually("the other instance to end the next run", within: .seconds(20)) {
                try await cluster.query(
                    "SELECT run || ' ' || problems FROM hub_tasks WHERE name = 'import_verify' AND leased_until IS NULL") == "2 0"
            }
            let after = try await cluster.query("SELECT instance FROM hub_tasks WHERE name = 'import_verify'")
            #expect(after != instance)
        }
    }
}

extension Array {
    /// `count` elements, which repeat those of the array.
    fileprivate func cycled(_ count: Int) -> [Element] { (0..<count).map { self[$0 % self.count] } }
}
