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
            cache.advance(to: Self.old)
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
            cache.advance(to: Self.old)
            cache.put(try Self.record("a", 9), epoch: Self.old)
            cache.advance(to: Self.new)
            #expect(cache.versions().isEmpty)
            cache.put(try Self.record("a", 10), epoch: Self.old)
            #expect(cache.versions().isEmpty)
            cache.put(try Self.record("a", 1), epoch: Self.new)
            #expect(try cache.record(of: flow("a"), atLeast: 0)?.version == 1)
        },
        Case("an outdated state is removed and cannot be cached again") { cache in
            cache.advance(to: Self.old)
            let id = try flow("a")
            let now = ContinuousClock.now
            cache.put(try Self.record("a", 3), epoch: Self.old)
            cache.compare(id, with: 3, epoch: Self.old, at: now)
            #expect(cache.record(of: id, atLeast: 0)?.version == 3)
            cache.compare(id, with: 5, epoch: Self.old, at: now)
            #expect(cache.record(of: id, atLeast: 0) == nil)
            // The result of a load that started before the comparison.
            #expect(cache.put(try Self.record("a", 4), epoch: Self.old, readAt: now) == false)
            #expect(cache.record(of: id, atLeast: 0) == nil)
            #expect(cache.put(try Self.record("a", 5), epoch: Self.old, readAt: now))
            #expect(cache.record(of: id, atLeast: 0)?.version == 5)
        },
        Case("a flow is current as of the latest read of the store that agrees with it") { cache in
            cache.advance(to: Self.old)
            let id = try flow("a")
            let now = ContinuousClock.now
            let later = now + .milliseconds(5)
            cache.put(try Self.record("a", 1), epoch: Self.old)
            #expect(cache.flow(id, atLeast: 0)?.currentAt == nil, "another instance may have committed at once")
            cache.compare(id, with: 1, epoch: Self.old, at: later)
            #expect(cache.flow(id, atLeast: 0)?.currentAt == later)
            // A load that began earlier, and a change of this process: both have all that the store had at `later`.
            cache.put(try Self.record("a", 1), epoch: Self.old, readAt: now)
            #expect(cache.flow(id, atLeast: 0)?.currentAt == later)
            cache.put(try Self.record("a", 2), epoch: Self.old)
            #expect(cache.flow(id, atLeast: 2)?.currentAt == later)
            // The head was read before this change was committed.
            cache.compare(id, with: 1, epoch: Self.old, at: later + .milliseconds(1))
            #expect(cache.flow(id, atLeast: 2)?.currentAt == later + .milliseconds(1))
            cache.compare(id, with: 0, epoch: Self.old, at: later + .milliseconds(2))
            #expect(cache.flow(id, atLeast: 2)?.currentAt == later + .milliseconds(2), "read before the flow was created")
        },
        Case("a change under a higher epoch is not overtaken by a load that began before it") { cache in
            cache.advance(to: Self.old)
            let id = try flow("a")
            cache.put(try Self.record("a", 7), epoch: Self.old)
            // The change is committed under an epoch that the cache has not been told of.
            cache.put(try Self.record("a", 2), epoch: Self.new)
            #expect(cache.flow(id, atLeast: 0)?.epoch == Self.new)
            cache.advance(to: Self.new)
            #expect(cache.put(try Self.record("a", 1), epoch: Self.new, readAt: .now) == false)
            #expect(cache.put(try Self.record("a", 9), epoch: Self.old, readAt: .now) == false)
            cache.advance(to: Self.old)
            #expect(cache.flow(id, atLeast: 0)?.record.version == 2)
        },
        Case("versions of another epoch are not compared") { cache in
            cache.advance(to: Self.new)
            let id = try flow("a")
            cache.put(try Self.record("a", 1), epoch: Self.new)
            cache.compare(id, with: 9, epoch: Self.old, at: .now)
            #expect(cache.flow(id, atLeast: 0)?.currentAt == nil)
            #expect(cache.flow(id, atLeast: 0)?.epoch == Self.new)
            #expect(cache.put(try Self.record("a", 2), epoch: Self.new, readAt: .now))
        },
        Case("tombstones are cached like any flow") { cache in
            cache.advance(to: Self.old)
            cache.put(try Self.record("a", 3, deleted: true), epoch: Self.old)
            cache.put(try Self.record("a", 2), epoch: Self.old)
            #expect(try cache.record(of: flow("a"), atLeast: 3)?.head.isDeleted == true)
            #expect(try cache.versions() == [flow("a"): 3])
        },
        Case("the highest of concurrently cached versions remains") { cache in
            cache.advance(to: Self.old)
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
