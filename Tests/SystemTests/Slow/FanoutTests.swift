import FlowCore
import FlowTestKit
import Testing

/// Subscribers that join and leave while a pass delivers to the others in slices.
@Suite(.serialized) struct FanoutTests {
    /// More subscribers than one slice of a pass has writes.
    private static let residents = 320
    private static let newSubscribers = 160

    @Test func joinsAndLeavesDuringPassDoNotDisturbOthers() async throws {
        try await HubProcess.running(["FLOWHUB_EVENT_LOOPS": "1"]) { hub in
            let api = hub.api
            _ = try await api.put("flow", .emptyObject)
            let residents = (0..<Self.residents).map { EventStreamClient(.flow("flow"), port: hub.port, name: "resident \($0)") }
            for resident in residents { try await resident.connect() }
            let newSubscribers = (0..<Self.newSubscribers).map {
                EventStreamClient(.flow("flow"), port: hub.port, name: "new subscriber \($0)")
            }
            let port = hub.port
            // One event at a time, while some subscribers join during its pass.
            for (round, joining) in stride(from: 0, to: newSubscribers.count, by: 4).map({ newSubscribers[$0..<$0 + 4] })
                .enumerated()
            {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<2 { group.addTask { _ = try await HubAPI(port: port).publish("event", .null, to: "flow") } }
                    for subscriber in joining { group.addTask { try await subscriber.connect() } }
                    try await group.waitForAll()
                }
                joining.first?.reset()
                try await residents[round].waitUntil("it has the event") { log in
                    log.events("event").count >= 2 * round + 2 ? true : nil
                }
            }
            let last = try #require(try await api.state(of: "flow")).version
            #expect(last == Version(1 + Self.newSubscribers / 2))
            let stayed = residents + newSubscribers.enumerated().filter { !$0.offset.isMultiple(of: 4) }.map(\.element)
            for subscriber in stayed {
                let log = try await subscriber.waitUntil("it has the last event") { log in
                    log.lastEventID.hasSuffix("-\(last)") ? log : nil
                }
                let versions = log.events("event").compactMap { $0.json.member("version")?.intValue }
                let start = try #require(log.events("snapshot").first?.json.member("version")?.intValue)
                #expect(versions == Array(start..<last).map { $0 + 1 }, "\(subscriber.name)")
            }
            #expect(hub.isRunning)
            for subscriber in stayed { subscriber.disconnect() }
        }
    }
}
