import FlowCore
import Testing

extension FlowStoreContract {
    static func prune(_ store: any FlowStore, _ policy: RetentionPolicy, now: Timestamp) async throws -> Int {
        var removed = 0
        while true {
            let count = try await store.prune(policy, now: now)
            #expect(count <= policy.batch)
            if count == 0 { return removed }
            removed += count
        }
    }

    static let pruning: [Case] = [
        Case("pruning by age deletes the oldest events and keeps the flow") { subject in
            let store = subject.store
            let id = try flow("a")
            var policy = RetentionPolicy()
            policy.historySeconds = 100
            policy.batch = 3
            for second in 0..<10 {
                _ = try await store.publish(id, ["\(second)"], at: start.advanced(bySeconds: Int64(second) * 10))
            }
            #expect(try await Self.prune(store, policy, now: start.advanced(bySeconds: 100)) == 0)
            #expect(try await Self.prune(store, policy, now: start.advanced(bySeconds: 145)) == 5)
            let page = try await store.page(of: id, after: 0, limit: PageLimit())
            #expect(page.events.map(\.version) == Array(6...10))
            #expect(page.headVersion == 10)
            #expect(try await Self.prune(store, policy, now: start.advanced(bySeconds: 9_999)) == 5)
            let empty = try await store.page(of: id, after: 3, limit: PageLimit())
            #expect(empty.events.isEmpty)
            #expect(empty.headVersion == 10)
            #expect(try await store.publish(id, ["1"], at: start.advanced(bySeconds: 10_000)).record?.version == 11)
        },
        Case("pruning leaves no gap if times are out of order") { subject in
            let store = subject.store
            let id = try flow("a")
            for second in [5, 20, 3, 21, 4, 22] {
                _ = try await store.publish(id, ["1"], at: start.advanced(bySeconds: Int64(second)))
            }
            var policy = RetentionPolicy()
            policy.historySeconds = 10
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 20))
            let versions = try await store.allEvents(of: id).map(\.version)
            #expect(versions.last == 6)
            #expect(versions == Array((versions.first ?? 1)...6))
        },
        Case("pruning by count keeps the newest events, also after a restart") { subject in
            let long = try flow("long")
            let short = try flow("short")
            var policy = RetentionPolicy()
            policy.historyEvents = 5
            policy.batch = 4
            _ = try await subject.store.publish(short, ["1", "2", "3"])
            _ = try await subject.store.publish(long, (1...20).map { "\($0)" })
            #expect(try await Self.prune(subject.store, policy, now: start) == 15)
            #expect(try await subject.store.allEvents(of: long).map(\.version) == Array(16...20))
            _ = try await subject.store.publish(long, ["1", "2"])
            let store = try await subject.reopen()
            #expect(try await Self.prune(store, policy, now: start) == 2)
            #expect(try await store.allEvents(of: long).map(\.version) == Array(18...22))
            #expect(try await store.allEvents(of: short).count == 3)
        },
        Case("finds flows that ended before a moment, the earliest first") { subject in
            let store = subject.store
            let ends = [
                ("a", "completed", 30), ("b", "failed", 10), ("c", "cancelled", 70), ("d", "running", 0), ("e", "completed", 0),
            ]
            for (id, status, second) in ends {
                _ = try await store.patch(
                    try flow(id), #"{"status":"\#(status)"}"#, at: start.advanced(bySeconds: Int64(second)))
            }
            _ = try await store.delete(try flow("e"))
            func found(_ second: Int64, limit: Int = 9) async throws -> [String] {
                try await store.finished(before: start.advanced(bySeconds: second), limit: limit).map(\.flow.rawValue)
            }
            #expect(try await found(10) == [])
            #expect(try await found(70) == ["b", "a"])
            #expect(try await found(999_999) == ["b", "a", "c"])
            #expect(try await found(999_999, limit: 2) == ["b", "a"])
            _ = try await store.patch(try flow("b"), #"{"status":"running"}"#, at: start.advanced(bySeconds: 80))
            #expect(try await found(999_999) == ["a", "c"])
        },
        Case("expired replies are deleted, tombstones are not") { subject in
            let store = subject.store
            let id = try flow("a")
            let key = FlowChange.Idempotency(key: "k", fingerprint: "f")
            _ = try await store.patch(id, #"{"n":1}"#, key: key)
            _ = try await store.delete(id)
            var policy = RetentionPolicy()
            policy.replySeconds = 60
            policy.tombstoneSeconds = 0
            #expect(try await Self.prune(store, policy, now: start.advanced(bySeconds: 61)) == 1)
            #expect(try await store.patch(id, #"{"n":1}"#, key: key).record?.version == 3)
            _ = try await store.delete(id)
            _ = try await Self.prune(store, policy, now: start.advanced(bySeconds: 999_999_999))
            #expect(try await store.load(id)?.version == 4)
        },
    ]
}
