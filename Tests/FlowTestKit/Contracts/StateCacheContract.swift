public import FlowCore
import Testing

/// Contract tests that every ``StateCache`` passes.
public enum StateCacheContract {
    /// A case gets an empty cache that has no epoch yet.
    public typealias Case = ContractCase<any StateCache>

    private static let old = Epoch(counter: 1, random: "a")
    private static let new = Epoch(counter: 2, random: "a")

    static func record(_ name: String, _ version: Version, deleted: Bool = false) throws -> FlowRecord {
        FlowRecord(
            head: FlowHead(
                flow: try flow(name), account: "1", version: version, status: deleted ? .deleted : .active, resetVersion: 0,
                updatedAt: start),
            state: try json(deleted ? "{}" : #"{"v":\#(version)}"#))
    }

    public static let cases: [Case] = [
        Case("a version never decreases") { cache in
            cache.removeAll(epoch: Self.old)
            let id = try flow("a")
            #expect(cache.record(of: id, atLeast: 0) == nil)
            let second = try Self.record("a", 2)
            cache.put(second, epoch: Self.old)
            cache.put(try Self.record("a", 1), epoch: Self.old)
            #expect(cache.record(of: id, atLeast: 0) == second)
            cache.put(try Self.record("a", 3), epoch: Self.old)
            #expect(cache.record(of: id, atLeast: 3)?.version == 3)
            #expect(cache.record(of: id, atLeast: 4) == nil)
        },
        Case("only states of the current epoch are cached") { cache in
            cache.put(try Self.record("a", 9), epoch: Self.old)
            #expect(cache.versions().isEmpty)
            cache.removeAll(epoch: Self.old)
            cache.put(try Self.record("a", 9), epoch: Self.old)
            cache.removeAll(epoch: Self.new)
            #expect(cache.versions().isEmpty)
            cache.put(try Self.record("a", 10), epoch: Self.old)
            #expect(cache.versions().isEmpty)
            cache.put(try Self.record("a", 1), epoch: Self.new)
            #expect(try cache.record(of: flow("a"), atLeast: 0)?.version == 1)
        },
        Case("an outdated state is removed and cannot be cached again") { cache in
            cache.removeAll(epoch: Self.old)
            let id = try flow("a")
            cache.put(try Self.record("a", 3), epoch: Self.old)
            cache.remove(id, below: 3)
            #expect(cache.record(of: id, atLeast: 0)?.version == 3)
            cache.remove(id, below: 5)
            #expect(cache.record(of: id, atLeast: 0) == nil)
            // The result of a load that started before the removal.
            cache.put(try Self.record("a", 4), epoch: Self.old)
            #expect(cache.record(of: id, atLeast: 0) == nil)
            cache.put(try Self.record("a", 5), epoch: Self.old)
            #expect(cache.record(of: id, atLeast: 0)?.version == 5)
        },
        Case("tombstones are cached like any flow") { cache in
            cache.removeAll(epoch: Self.old)
            cache.put(try Self.record("a", 3, deleted: true), epoch: Self.old)
            cache.put(try Self.record("a", 2), epoch: Self.old)
            #expect(try cache.record(of: flow("a"), atLeast: 3)?.head.isDeleted == true)
            #expect(try cache.versions() == [flow("a"): 3])
        },
        Case("the highest of concurrently cached versions remains") { cache in
            cache.removeAll(epoch: Self.old)
            let id = try flow("a")
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        for number in 0..<500 {
                            guard let record = try? Self.record("a", Version((number * 7919 + task * 31) % 500 + 1)) else {
                                return
                            }
                            cache.put(record, epoch: Self.old)
                            let seen = cache.record(of: record.head.flow, atLeast: 0)?.version ?? 0
                            #expect(seen >= record.version)
                        }
                    }
                }
            }
            #expect(cache.record(of: id, atLeast: 0)?.version == 500)
        },
    ]
}
