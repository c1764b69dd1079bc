import FlowCore
import FlowTestKit
import Testing

/// Tests of the response to each kind of cursor. The model tests choose cursors at random; here each kind has its own case.
@Suite(.serialized) struct CursorSystemTests {
    private static let settings = [
        "FLOWHUB_HISTORY_EVENTS": "20", "FLOWHUB_PRUNE_SECONDS": "1", "FLOWHUB_HEARTBEAT_SECONDS": "1",
    ]

    /// Runs the body with a restarted hub, whose caches are empty, and a flow at version 30 whose history starts at 11.
    private func withPrunedFlow(_ body: (HubProcess, HubAPI, Epoch) async throws -> Void) async throws {
        try await HubProcess.running(Self.settings) { hub in
            _ = try await hub.api.publish((0..<30).map { _ in ("event", .null) }, to: "flow")
            _ = try await hub.api.publish("event", .null, to: "other")
            try await hub.terminate()
            try await hub.start()
            try await eventually("the history to be pruned") { try await hub.api.history(of: "flow")?.events.count == 20 }
            try await body(hub, hub.api, try await ModelRun.epoch(hub, "show"))
        }
    }

    private func firstBlocks(_ cursor: String, _ hub: HubProcess, _ target: StreamTarget = .flow("flow")) async throws
        -> [EventBlock]
    {
        let client = EventStreamClient(target, port: hub.port)
        try await client.connect(.text(cursor))
        #expect(client.log.status == 200)
        _ = try await client.next(event: "caught_up")
        client.disconnect()
        return client.log.blocks
    }

    private func expectResync(_ reason: String, from: Int64?, _ blocks: [EventBlock]) throws {
        let events = blocks.filter { $0.data != nil && $0.event != "heartbeat" }
        #expect(events.map(\.event) == ["resync", "snapshot", "caught_up"])
        let resync = try #require(events.first)
        #expect(resync.json.member("reason")?.stringValue == reason)
        #expect(resync.json.member("from")?.intValue == from && resync.json.member("to")?.intValue == 30)
        #expect(events.count > 1 && events[1].version == 30)
    }

    @Test func resyncsOrReplaysEveryKindOfCursor() async throws {
        try await self.withPrunedFlow { hub, _, epoch in
            try self.expectResync("history_pruned", from: 5, try await self.firstBlocks("\(epoch)-5", hub))
            try self.expectResync("history_pruned", from: 9, try await self.firstBlocks("\(epoch)-9", hub))
            try self.expectResync("history_pruned", from: 0, try await self.firstBlocks("0", hub))
            try self.expectResync("cursor_ahead", from: 31, try await self.firstBlocks("\(epoch)-31", hub))
            try self.expectResync("epoch", from: nil, try await self.firstBlocks("1.a-30", hub))
            try self.expectResync("bad_cursor", from: nil, try await self.firstBlocks("whatever", hub))
            let hash = FlowSetHash(of: [])
            try self.expectResync("other_flows", from: nil, try await self.firstBlocks("\(epoch)-\(hash)-1.2", hub))

            // The oldest stored event is version 11, so nothing after version 10 is lost.
            let replayed = try await self.firstBlocks("\(epoch)-10", hub)
            #expect(replayed.filter { $0.event == "event" }.compactMap(\.version) == Array(11...30))
            #expect(!replayed.contains { $0.event == "resync" || $0.event == "snapshot" })
            let atEnd = try await self.firstBlocks("\(epoch)-30", hub)
            #expect(atEnd.map(\.event).filter { $0 != "heartbeat" } == ["caught_up"])
        }
    }

    /// Some clients dispatch a block without data as an empty message. So `retry:` is a line of the first event, and the position
    /// is the `id:` of `caught_up`. Without a valid cursor, the first id is that of the snapshot: a client that lost the
    /// connection in between would never receive it.
    @Test func everyBlockHasData() async throws {
        try await self.withPrunedFlow { hub, _, epoch in
            for target in [StreamTarget.flow("flow"), .flow("flow").with { $0.types = ["nothing"] }] {
                for cursor in ["\(epoch)-30", "\(epoch)-25", "", "whatever", "1.a-30"] {
                    let blocks = try await self.firstBlocks(cursor, hub, target)
                    #expect(blocks.allSatisfy { $0.data != nil }, "\(target) after \(cursor): \(blocks)")
                    #expect(blocks.first?.retry != nil && blocks.dropFirst().allSatisfy { $0.retry == nil })
                    let caughtUp = try #require(blocks.first { $0.event == "caught_up" })
                    #expect(caughtUp.id == "\(epoch)-30" && caughtUp.version == 30)
                    let firstID = blocks.first { $0.id != nil }?.event
                    if !cursor.hasPrefix("\(epoch)") { #expect(firstID == "snapshot", "\(target) after \(cursor)") }
                }
            }
        }
    }

    @Test func streamWithoutSnapshotStartsAtHead() async throws {
        try await self.withPrunedFlow { hub, api, _ in
            let client = EventStreamClient(.flow("flow").with { $0.wantsSnapshot = false }, port: hub.port)
            try await client.connect()
            #expect(try await client.next(event: "caught_up").version == 30)
            _ = try await api.publish("event", .null, to: "flow")
            #expect(try await client.next(event: "event").version == 31)
            #expect(client.log.events("snapshot").isEmpty)
            client.disconnect()
        }
    }

    /// Events that the type filter skips advance the cursor.
    @Test func typeFilterAdvancesCursorOverSkippedEvents() async throws {
        try await self.withPrunedFlow { hub, api, epoch in
            for target in [StreamTarget.flow("flow"), .flows(["flow", "other"])] {
                let client = EventStreamClient(target.with { $0.types = ["wanted"] }, port: hub.port)
                try await client.connect()
                for _ in target.flows { _ = try await client.next(event: "caught_up") }
                let version = try await api.publish([("unwanted", .null), ("wanted", .null), ("unwanted", .null)], to: "flow")
                    .version
                #expect(try await client.next(event: "wanted").version == version - 1)
                let hash = FlowSetHash(of: target.sortedFlows.compactMap { FlowID($0) })
                let id = target.isShared ? "\(epoch)-\(hash)-\(String(version, radix: 36)).1" : "\(epoch)-\(version)"
                try await client.waitUntil("the cursor \(id)") { $0.lastEventID == id ? () : nil }
                #expect(client.log.events("unwanted").isEmpty)
                client.disconnect()
            }
        }
    }

    /// Skipped events send nothing, live and from history. The next heartbeat has their position.
    @Test func skippedEventsMoveCursorWithNextHeartbeat() async throws {
        try await HubProcess.running(["FLOWHUB_HEARTBEAT_SECONDS": "1"]) { hub in
            let run = Array(repeating: ("unwanted", JSONText.null), count: 50)
            let batches = [run + [("wanted", .null)], run]
            let live = EventStreamClient(.flow("flow").with { $0.types = ["wanted"] }, port: hub.port, name: "live")
            try await live.connect()
            _ = try await live.next(event: "caught_up")
            for batch in batches { _ = try await hub.api.publish(batch, to: "flow") }
            let late = EventStreamClient(.flow("flow").with { $0.types = ["wanted"] }, port: hub.port, name: "late")
            try await late.connect(.text("0"), by: .query)
            for client in [live, late] {
                try await client.waitUntil("the end of the flow") { $0.lastEventID.hasSuffix("-101") ? () : nil }
                let idBlocks = client.log.blocks.filter { $0.id != nil && $0.event != "snapshot" }
                let types = Set(idBlocks.map(\.event))
                #expect(types.isSubset(of: ["caught_up", "heartbeat", "wanted"]) && idBlocks.allSatisfy { $0.data != nil })
                #expect(idBlocks.filter { $0.event == "wanted" }.compactMap(\.version) == [51])
                // A heartbeat has an id only if the position has moved.
                let ids = idBlocks.filter { $0.event == "heartbeat" }.map(\.id)
                #expect(ids.count == Set(ids).count, "\(client.name): \(ids)")
                client.disconnect()
            }
        }
    }
}
