import FlowCore
import FlowTestKit
import Testing

/// The database is replaced by an older copy or a standby while hubs run: subscribers get a resync, their states stay
/// equal to the store's, and no version gets two meanings.
@Suite(.serialized) struct HistoryChangeTests {
    private static func patch(_ api: HubAPI, _ number: Int) async throws -> HubAPI.Written {
        try await api.patch("job", try jsonText(#"{"n":\#(number)}"#))
    }

    private static func watcher(_ hub: HubProcess, _ name: String) async throws -> EventStreamClient {
        let client = EventStreamClient(.flow("job"), port: hub.port, name: name)
        try await client.connect()
        _ = try await client.next(event: "caught_up")
        return client
    }

    /// The state that a subscriber computes from its snapshot and its updates.
    private static func state(_ log: StreamLog) -> JSONText? {
        guard let start = log.blocks.lastIndex(where: { $0.event == "snapshot" }) else { return nil }
        var state = log.blocks[start].json.member("state") ?? .emptyObject
        for block in log.blocks[start...] where block.event == "state_update" {
            state = state.applying(mergePatch: block.json.member("updates") ?? .emptyObject)
        }
        return state
    }

    private static func expectEpochResync(_ client: EventStreamClient) async throws {
        let resync = try await client.next(event: "resync", within: .seconds(15))
        #expect(resync.json.member("reason")?.stringValue == "epoch")
        _ = try await client.next(event: "snapshot")
    }

    @Test func restoreResyncsSubscribersUnderNewEpoch() async throws {
        try await PostgresServer.running { server in
            try await PostgresHubs.running(2, on: server) { hubs in
                for number in 1...3 { #expect(try await Self.patch(hubs[0].api, number).version == Version(number)) }
                try await server.shutDown()
                let copy = try server.copyData()
                try await server.start()
                let before = try await ModelRun.epoch(hubs[0], "show")
                let watchers = [try await Self.watcher(hubs[0], "here"), try await Self.watcher(hubs[1], "there")]
                try await eventually("writes to work again") { try await Self.patch(hubs[0].api, 4).isAcknowledged }
                #expect(try await Self.patch(hubs[0].api, 5).version == 5)
                for watcher in watchers { _ = try await watcher.next("version 5") { $0.version == 5 } }
                try await server.shutDown()
                try server.restoreData(from: copy)
                try await server.start()
                for watcher in watchers { try await Self.expectEpochResync(watcher) }
                let after = try await ModelRun.epoch(hubs[0], "show")
                #expect(after > before)
                #expect(try await Self.patch(hubs[1].api, 40).version == 4)
                for watcher in watchers {
                    _ = try await watcher.next("the new version 4") { $0.version == 4 && $0.event == "state_update" }
                    let ids = watcher.log.blocks.filter { $0.version == 4 && $0.event == "state_update" }.compactMap(\.id)
                    #expect(ids == ["\(before)-4", "\(after)-4"])
                    #expect(Self.state(watcher.log)?.string == #"{"n":40}"#)
                }
                #expect(try await hubs[0].api.state(of: "job")?.state.string == #"{"n":40}"#)
            }
        }
    }

    @Test("a restore raises the epoch, also without subscribers and if the epoch was raised since the copy")
    func restoreWithoutSubscribersRaisesEpoch() async throws {
        try await PostgresServer.running { server in
            try await PostgresHubs.running(1, on: server) { hubs in
                let api = hubs[0].api
                for number in 1...2 { #expect(try await Self.patch(api, number).version == Version(number)) }
                try await server.shutDown()
                let copy = try server.copyData()
                try await server.start()
                // The copy has an older epoch than the adopted one.
                try await eventually("the database to be back") {
                    try await hubs[0].command(["epoch", "bump"]).exit == .code(0)
                }
                let before = try await ModelRun.epoch(hubs[0], "show")
                try await eventually("writes to work again") { try await Self.patch(api, 3).isAcknowledged }
                #expect(try await api.state(of: "job")?.version == 3)
                try await server.shutDown()
                try server.restoreData(from: copy)
                try await server.start()
                // The cached version is higher than the store's. Nothing is written, and no subscriber is connected.
                try await eventually("the older state to be read", within: .seconds(15)) {
                    (try? await api.state(of: "job"))??.version == 2
                }
                let after = try await ModelRun.epoch(hubs[0], "show")
                #expect(after > before)
                let written = try await Self.patch(api, 30)
                #expect(written.version == 3)
                #expect(try await api.state(of: "job")?.tag == "\"\(after)-3\"")
            }
        }
    }

    @Test func promotionOfLaggingStandbyResyncsSubscribers() async throws {
        try await PostgresServer.running(options: ["wal_level=replica", "max_wal_senders=4", "hot_standby=on"]) { primary in
            let standby = try await primary.makeStandby()
            do {
                try await Self.promote(primary, standby)
            } catch {
                await standby.destroy()
                throw error
            }
            await standby.destroy()
        }
    }

    private static func promote(_ primary: PostgresServer, _ standby: PostgresServer) async throws {
        try await standby.start()
        let database = try await primary.createDatabase()
        // libpq connects to the server of the two that accepts writes.
        let url =
            "postgres://\(PostgresServer.user)@127.0.0.1:\(primary.port),127.0.0.1:\(standby.port)/\(database)?target_session_attrs=read-write"
        try await PostgresHubs.start(2, url, [:]) { hubs in
            for number in 1...3 { #expect(try await Self.patch(hubs[0].api, number).version == Version(number)) }
            try await eventually("the standby to have version 3") {
                try await standby.query("SELECT version FROM flows WHERE id = 'job'", in: database) == "3"
            }
            // From here on the standby receives no WAL.
            try await standby.query("ALTER SYSTEM SET primary_conninfo = ''", in: "postgres")
            try await standby.query("SELECT pg_reload_conf()", in: "postgres")
            try await eventually("the standby to be disconnected") {
                try await standby.query("SELECT count(*) FROM pg_stat_wal_receiver", in: "postgres") == "0"
            }
            let before = try await ModelRun.epoch(hubs[0], "show")
            let watchers = [try await Self.watcher(hubs[0], "here"), try await Self.watcher(hubs[1], "there")]
            for number in 4...5 { #expect(try await Self.patch(hubs[0].api, number).version == Version(number)) }
            for watcher in watchers { _ = try await watcher.next("version 5") { $0.version == 5 } }
            try await primary.kill()
            try await standby.promote()
            for watcher in watchers { try await Self.expectEpochResync(watcher) }
            let after = try await ModelRun.epoch(hubs[0], "show")
            #expect(after > before)
            #expect(try await Self.patch(hubs[0].api, 40).version == 4)
            for watcher in watchers {
                _ = try await watcher.next("the new version 4") { $0.id == "\(after)-4" }
                #expect(Self.state(watcher.log)?.string == #"{"n":40}"#)
            }
        }
    }

    @Test func flowRecreatedAtOtherInstanceContinuesVersions() async throws {
        try await PostgresServer.running { server in
            try await PostgresHubs.running(2, on: server, ["FLOWHUB_LINGER_MS": "60000"]) { hubs in
                #expect(try await Self.patch(hubs[0].api, 1).version == 1)
                let watcher = try await Self.watcher(hubs[1], "there")
                #expect(try await hubs[0].api.delete("job").version == 2)
                #expect(try await Self.patch(hubs[1].api, 3).version == 3)
                #expect(try await Self.patch(hubs[0].api, 4).version == 4)
                _ = try await watcher.next("version 4") { $0.version == 4 }
                let versions = watcher.log.blocks.filter { $0.event != "snapshot" && $0.event != "caught_up" }.compactMap(
                    \.version)
                #expect(versions == [2, 3, 4])
                #expect(watcher.log.events("flow_deleted").count == 1)
            }
        }
    }
}
