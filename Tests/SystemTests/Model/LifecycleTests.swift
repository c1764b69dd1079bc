import FlowCore
import FlowTestKit
import Testing

/// Tests of finished, reopened, deleted and re-created flows, and of a raised epoch.
@Suite(.serialized) struct LifecycleTests {
    private static let settings = ["FLOWHUB_LINGER_MS": "500", "FLOWHUB_HEARTBEAT_SECONDS": "1", "FLOWHUB_SWEEP_SECONDS": "1"]

    private static func status(_ status: String) -> JSONText {
        .object {
            $0.key("status"); $0.value(status)
        }
    }

    @Test func finishedFlowEndsItsStreams() async {
        await concurrently(["completed", "failed", "cancelled"], self.finishedFlowEndsItsStreams(status:))
    }

    private func finishedFlowEndsItsStreams(status: String) async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.patch("job", Self.status("running"))
            let client = EventStreamClient(.flow("job"), port: hub.port)
            try await client.connect()
            _ = try await client.next(event: "caught_up")
            let written = try await api.patch("job", Self.status(status))
            let end = try await client.next(event: "state_update")
            #expect(end.version == written.version)
            let closing = try await client.next(event: "closing")
            #expect(closing.json.member("reason")?.stringValue == "finished")
            #expect(closing.json.member("reconnect")?.boolValue == false)
            // The flow lingers for late events.
            #expect(closing.at - end.at > .milliseconds(400))
            try await client.waitUntilEnded()
            #expect(client.log.blocks.last?.event == "closing")

            // A client that reconnects nevertheless gets 204, also with the cursor in the query.
            for transport in [EventStreamClient.CursorTransport.header, .query] {
                try await client.connect(by: transport)
                #expect(client.log.status == 204)
            }
            // A subscriber that has not received the end gets a snapshot and a closing event.
            let newSubscriber = EventStreamClient(.flow("job"), port: hub.port)
            try await newSubscriber.connect()
            let snapshot = try await newSubscriber.next(event: "snapshot")
            #expect(snapshot.json.member("status")?.stringValue == status && snapshot.version == written.version)
            try await newSubscriber.waitUntilEnded()
            #expect(newSubscriber.log.blocks.last?.event == "closing")
        }
    }

    @Test func reopenedFlowKeepsStreamsWhileLingering() async throws {
        let settings = Self.settings.merging(["FLOWHUB_LINGER_MS": "3000"]) { $1 }
        try await HubProcess.running(settings) { hub in
            let api = hub.api
            let client = EventStreamClient(.flow("job"), port: hub.port)
            try await client.connect()
            _ = try await api.patch("job", Self.status("completed"))
            _ = try await client.next(event: "state_update")
            _ = try await api.patch("job", Self.status("running"))
            let reopened = try await client.next(event: "state_update")
            // Longer than the linger time of 3 s.
            _ = try await client.next("a heartbeat after that time", within: .seconds(15)) {
                $0.event == "heartbeat" && $0.at - reopened.at > .seconds(5)
            }
            _ = try await api.publish("more", .null, to: "job")
            #expect(try await client.next(event: "more").version == 3)
            #expect(client.log.events("closing").isEmpty && client.log.connections.count == 1)
            client.disconnect()
        }
    }

    @Test func deletedFlowEndsStreamsAndCanBeRecreated() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.patch(
                "job",
                .object {
                    $0.key("a"); $0.value(1)
                })
            _ = try await api.publish(
                "tick",
                .object {
                    $0.key("n"); $0.value(1)
                }, to: "job", durable: false)
            let client = EventStreamClient(.flow("job"), port: hub.port)
            try await client.connect()
            let first = try await client.next(event: "snapshot")
            #expect(first.json.member("last")?.member("tick")?.member("data")?.member("n")?.intValue == 1)
            #expect(try await api.delete("job").version == 2)
            #expect(try await client.next(event: "flow_deleted").version == 2)
            #expect(try await client.next(event: "closing").json.member("reason")?.stringValue == "deleted")
            try await client.waitUntilEnded()
            try await client.connect()
            #expect(client.log.status == 204)
            #expect(try await api.state(of: "job") == nil)

            // Versions continue, and transient events from before the deletion are void.
            #expect(try await api.publish("again", .null, to: "job").version == 3)
            try await client.connect()
            #expect(try await client.next(event: "again").version == 3)
            let newSubscriber = EventStreamClient(.flow("job"), port: hub.port)
            try await newSubscriber.connect()
            let snapshot = try await newSubscriber.next(event: "snapshot")
            #expect(snapshot.json.member("state") == .emptyObject && snapshot.json.member("last") == .emptyObject)
            client.disconnect()
            newSubscriber.disconnect()
        }
    }

    /// On a stream of several flows, the end of one flow does not end the others.
    @Test func finishedFlowDoesNotEndOtherFlowsOfStream() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            for flow in ["a", "b"] { _ = try await api.patch(flow, Self.status("running")) }
            let client = EventStreamClient(.flows(["a", "b"]), port: hub.port)
            try await client.connect()
            for _ in 0..<2 { _ = try await client.next(event: "caught_up") }
            _ = try await api.patch("a", Self.status("completed"))
            let closing = try await client.next(event: "closing")
            #expect(closing.flow == "a")
            _ = try await api.publish("more", .null, to: "b")
            _ = try await client.next(event: "more")
            _ = try await api.patch("b", Self.status("completed"))
            #expect(try await client.next(event: "closing").flow == nil)
            try await client.waitUntilEnded()
            try await client.connect()
            #expect(client.log.status == 204)
        }
    }

    @Test func raisedEpochResyncsSubscribers() async throws {
        try await HubProcess.running(Self.settings) { hub in
            let api = hub.api
            _ = try await api.patch(
                "job",
                .object {
                    $0.key("a"); $0.value(1)
                })
            let clients = [
                EventStreamClient(.flow("job"), port: hub.port, name: "of one flow"),
                EventStreamClient(.flows(["job", "other"]), port: hub.port, name: "of two flows"),
            ]
            for client in clients {
                try await client.connect()
                _ = try await client.next(event: "caught_up")
            }
            let before = clients.map(\.lastEventID)
            let raised = try await ModelRun.epoch(hub, "bump")
            for client in clients {
                let flows = client.target.sortedFlows.count
                for _ in 0..<flows {
                    let resync = try await client.next(event: "resync")
                    #expect(resync.json.member("reason")?.stringValue == "epoch")
                    let snapshot = try await client.next(event: "snapshot")
                    #expect(snapshot.id?.hasPrefix("\(raised)-") == true && snapshot.flow == resync.flow)
                }
            }
            // Changes continue under the new epoch. A cursor of the old epoch gets a resync.
            let version = try await api.publish("more", .null, to: "job").version
            for (client, cursor) in zip(clients, before) {
                #expect(try await client.next(event: "more").version == version)
                try await client.connect(.text(cursor))
                #expect(try await client.next(event: "resync").json.member("reason")?.stringValue == "epoch")
                _ = try await client.next(event: "snapshot")
                client.disconnect()
            }
        }
    }
}
