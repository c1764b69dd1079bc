import FlowCore
import Testing

extension FlowStoreContract {
    static let epochs: [Case] = [
        Case("changes and reads fail after another process raised the epoch, and nothing is written") { subject in
            let store = subject.store
            let log = CommitLog(store)
            let id = try flow("a")
            _ = try await store.patch(id, #"{"n":1}"#)
            let before = store.epoch
            try await subject.raiseEpochElsewhere()
            await #expect(throws: StoreError.epochChanged) { try await store.patch(id, #"{"n":2}"#) }
            await #expect(throws: StoreError.epochChanged) { try await store.load(id) }
            await #expect(throws: StoreError.epochChanged) { try await store.page(of: id, after: 0, limit: PageLimit()) }
            await #expect(throws: StoreError.epochChanged) { try await store.heads(of: []) }
            await #expect(throws: StoreError.epochChanged) { try await store.list(FlowQuery(account: "1", limit: 1)) }
            await #expect(throws: StoreError.epochChanged) { try await store.prune(RetentionPolicy(), now: start) }
            #expect(store.epoch == before)
            let after = try await store.refreshEpoch()
            #expect(after > before)
            #expect(store.epoch == after)
            #expect(try await store.load(id)?.version == 1)
            #expect(try await store.patch(id, #"{"n":2}"#).record?.version == 2)
            #expect(log.all.map(\.epoch) == [before, after])
        },
        Case("only the first raise from an epoch takes effect, and it is durable") { subject in
            let store = subject.store
            let before = store.epoch
            let raised = try await store.raiseEpoch(from: before, now: start)
            #expect(raised > before)
            #expect(store.epoch == raised)
            #expect(try await store.raiseEpoch(from: before, now: start) == raised)
            let later = start.advanced(bySeconds: 4_000_000_000)
            #expect(try await store.raiseEpoch(from: raised, now: later).counter == UInt64(later.seconds))
            let last = store.epoch
            #expect(try await subject.reopen().epoch == last)
        },
    ]

    static let concurrency: [Case] = [
        Case("concurrent writers of one flow get gapless versions, observed in order") { subject in
            let store = subject.store
            let log = CommitLog(store)
            let id = try flow("a")
            let answered = try await withThrowingTaskGroup(of: [Version].self) { group in
                for writer in 0..<20 {
                    group.addTask {
                        var versions: [Version] = []
                        for number in 0..<25 {
                            let outcome = try await store.patch(id, #"{"w\#(writer)":\#(number)}"#)
                            versions.append(try #require(outcome.record?.version))
                        }
                        return versions
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(answered.sorted() == Array(1...500))
            #expect(log.all.map(\.record.version) == Array(1...500))
            #expect(try await store.allEvents(of: id).map(\.version) == Array(1...500))
            let state = try #require(try await store.load(id)).state
            for writer in 0..<20 { #expect(state.member("w\(writer)")?.intValue == 24) }
        },
        Case("concurrent patches of a large state are all applied, between publications that keep it") { subject in
            let store = subject.store
            let id = try flow("a")
            let text = String(repeating: "x", count: 4 * FlowChange.smallPatchBytes)
            _ = try await store.patch(id, #"{"text":"\#(text)","status":"running"}"#)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<20 {
                    group.addTask {
                        let patched = try await store.patch(id, #"{"w\#(writer)":1}"#)
                        #expect(patched.record != nil)
                        let published = try await store.publish(id, ["1"])
                        #expect(published.record?.state.member("text")?.stringValue == text)
                    }
                }
                try await group.waitForAll()
            }
            let stored = try #require(try await subject.reopen().load(id))
            #expect(stored.version == 41)
            #expect(stored.head.status.rawValue == "running")
            #expect(stored.state.member("text")?.stringValue == text)
            for writer in 0..<20 { #expect(stored.state.member("w\(writer)")?.intValue == 1) }
        },
        Case("exactly one of many changes that expect the same version is applied") { subject in
            let store = subject.store
            let id = try flow("a")
            _ = try await store.patch(id, #"{"n":0}"#)
            let epoch = store.epoch
            let outcomes = try await withThrowingTaskGroup(of: FlowOutcome.self) { group in
                for writer in 1...50 {
                    group.addTask { try await store.patch(id, #"{"n":\#(writer)}"#, if: .version(epoch, 1)) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(outcomes.filter { $0.record?.version == 2 }.count == 1)
            #expect(outcomes.filter { $0.rejection == .preconditionFailed(2) }.count == 49)
        },
        Case("concurrent requests with one idempotency key are applied once") { subject in
            let store = subject.store
            let id = try flow("a")
            let key = FlowChange.Idempotency(key: "k", fingerprint: "f")
            let outcomes = try await withThrowingTaskGroup(of: FlowOutcome.self) { group in
                for _ in 0..<30 { group.addTask { try await store.publish(id, ["1"], key: key) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(outcomes.filter { $0.record != nil }.count == 1)
            #expect(outcomes.filter { $0.reply?.versions == [1] }.count == 29)
        },
        Case("a rejected change does not affect the others of its batch") { subject in
            let store = subject.store
            let outcomes = try await withThrowingTaskGroup(of: (Int, FlowOutcome).self) { group in
                for number in 0..<400 {
                    group.addTask {
                        let precondition: FlowChange.Precondition = number % 10 == 3 ? .exists : .absent
                        return (number, try await store.patch(try flow("f\(number)"), #"{"n":1}"#, if: precondition))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for (number, outcome) in outcomes {
                if number % 10 == 3 {
                    #expect(outcome.rejection == .preconditionFailed(0))
                } else {
                    #expect(outcome.record?.version == 1)
                }
            }
            #expect(try await store.list(FlowQuery(account: "1", limit: 1_000)).flows.count == 360)
        },
        Case("state, history and epoch survive closing and reopening") { subject in
            let id = try flow("a")
            for number in 1...5 {
                #expect(try await subject.store.patch(id, #"{"n":\#(number)}"#).record?.version == Version(number))
            }
            let record = try await subject.store.load(id)
            #expect(record?.version == 5)
            let events = try await subject.store.allEvents(of: id)
            let epoch = subject.store.epoch
            let store = try await subject.reopen()
            #expect(store.epoch == epoch)
            #expect(try await store.load(id) == record)
            #expect(try await store.allEvents(of: id) == events)
            #expect(try await store.patch(id, #"{"n":9}"#).record?.version == 6)
        },
    ]
}
