public import FlowCore
import Testing

/// Contract tests that every ``TransientStore`` passes.
public enum TransientStoreContract {
    public typealias Case = ContractCase<any TransientStore>

    static func event(_ name: String, _ data: String, second: Int64 = 0) throws -> TransientEvent {
        TransientEvent(type: try type(name), data: try json(data), createdAt: start.advanced(bySeconds: second))
    }

    public static let cases: [Case] = [
        Case("returns the last transient event of each type, in order of publication") { store in
            let id = try flow("a")
            store.record(try Self.event("x", "1"), of: id, at: 1)
            store.record(try Self.event("y", "2"), of: id, at: 1)
            store.record(try Self.event("x", "3"), of: id, at: 2)
            #expect(await store.latest(of: id, since: 0).map(\.data.string) == ["2", "3"])
            #expect(await store.latest(of: id, since: 2).map(\.data.string) == ["3"])
            #expect(await store.latest(of: id, since: 3).isEmpty)
            #expect(try await store.latest(of: flow("b"), since: 0).isEmpty)
            store.removeAll()
            #expect(await store.latest(of: id, since: 0).isEmpty)
        },
        Case("does not return old transient events") { store in
            let id = try flow("a")
            store.record(try Self.event("x", "1"), of: id, at: 1)
            store.record(try Self.event("y", "2", second: 7_200), of: id, at: 1)
            #expect(await store.latest(of: id, since: 0).map(\.data.string) == ["2"])
        },
        Case("a flow keeps the latest types, up to a limit") { store in
            let id = try flow("a")
            for number in 0..<1_000 { store.record(try Self.event("t\(number)", "\(number)"), of: id, at: 1) }
            let kept = await store.latest(of: id, since: 0).map(\.data.string)
            #expect((1...100).contains(kept.count))
            #expect(kept == (1_000 - kept.count..<1_000).map { "\($0)" })
        },
    ]
}
