public import FlowCore
import Synchronization
import Testing

/// Contract tests that every ``ConnectionRegistry`` passes.
public enum ConnectionRegistryContract {
    public typealias Case = ContractCase<any ConnectionRegistry>

    /// An entry of the instance `i`.
    static func entry(_ number: UInt64, _ name: String, account: String = "1") throws -> ConnectionEntry {
        ConnectionEntry(
            connection: ConnectionID(instance: "i", number: number), flow: try flow(name), account: account,
            subject: "s\(number)",
            remote: "10.0.0.1:\(number)", registeredAt: start)
    }

    public static let cases: [Case] = [
        Case("lists and counts registered connections only") { registry in
            let entries = [try Self.entry(1, "a"), try Self.entry(2, "a"), try Self.entry(2, "b")]
            await registry.register(entries)
            await registry.register([entries[0]])
            #expect(try await Set(registry.connections(of: flow("a"))) == Set(entries[..<2]))
            #expect(try await registry.connections(of: flow("b")) == [entries[2]])
            #expect(try registry.count(of: flow("a"), account: "1") == 2)
            await registry.unregister([entries[0], entries[0], try Self.entry(9, "a")])
            #expect(try await registry.connections(of: flow("a")) == [entries[1]])
            #expect(try registry.count(of: flow("a"), account: "1") == 1)
            await registry.unregister(entries)
            #expect(try await registry.connections(of: flow("a")).isEmpty)
            #expect(try registry.count(of: flow("b"), account: "1") == 0)
        },
        Case("counts the connections of each account") { registry in
            let entries = [
                try Self.entry(1, "a"), try Self.entry(2, "a", account: "2"), try Self.entry(3, "a", account: "2"),
            ]
            await registry.register(entries)
            #expect(try registry.count(of: flow("a"), account: "1") == 1)
            #expect(try registry.count(of: flow("a"), account: "2") == 2)
            #expect(try registry.count(of: flow("a"), account: "3") == 0)
            await registry.unregister([entries[1]])
            #expect(try registry.count(of: flow("a"), account: "1") == 1)
            #expect(try registry.count(of: flow("a"), account: "2") == 1)
        },
        Case("disconnects connections of the account while one of their flows is registered") { registry in
            let ended = Mutex<[UInt64]>([])
            registry.onDisconnectRequest { connection in ended.withLock { $0.append(connection.number) } }
            let entries = [try Self.entry(1, "a"), try Self.entry(1, "b"), try Self.entry(2, "a", account: "2")]
            await registry.register(entries)
            #expect(await registry.disconnect(entries[0].connection, account: "1"))
            #expect(await registry.disconnect(entries[2].connection, account: "1") == false)
            #expect(await registry.disconnect(entries[2].connection, account: nil))
            #expect(await registry.disconnect(ConnectionID(instance: "i", number: 3), account: nil) == false)
            await registry.unregister([entries[0]])
            #expect(await registry.disconnect(entries[0].connection, account: "1"))
            await registry.unregister([entries[1]])
            #expect(await registry.disconnect(entries[0].connection, account: "1") == false)
            #expect(ended.withLock { $0 } == [1, 2, 1])
        },
        Case("registers and unregisters 5,000 connections of one flow") { registry in
            let entries = try (1...5_000).map { try Self.entry(UInt64($0), "a") }
            await registry.register(entries)
            #expect(try registry.count(of: flow("a"), account: "1") == 5_000)
            for entry in entries.dropLast() { await registry.unregister([entry]) }
            #expect(try await registry.connections(of: flow("a")) == [entries[4_999]])
        },
    ]
}
