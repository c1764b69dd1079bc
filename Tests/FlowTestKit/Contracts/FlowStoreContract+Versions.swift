import FlowCore
import Testing

extension FlowStoreContract {
    static let versions: [Case] = [
        Case("versions have no gaps, and state and events are committed together") { subject in
            let store = subject.store
            let id = try flow("a")
            #expect(try await store.load(id) == nil)
            let first = try await store.patch(id, #"{"n":1,"keep":true}"#)
            #expect(first.isCreated)
            #expect(first.record?.version == 1)
            let second = try await store.patch(id, #"{"n":2}"#)
            #expect(!second.isCreated)
            _ = try await store.publish(id, ["1", "2"])
            _ = try await store.replace(id, #"{"status":"completed"}"#)
            let record = try #require(try await store.load(id))
            #expect(record.version == 5)
            #expect(record.state.string == #"{"status":"completed"}"#)
            #expect(record.head.status.rawValue == "completed")
            #expect(record.head.resetVersion == 5)
            let events = try await store.allEvents(of: id)
            #expect(events.map(\.version) == [1, 2, 3, 4, 5])
            #expect(events.map(\.type.rawValue) == ["state_update", "state_update", "tick", "tick", "state_update"])
            #expect(
                events.map(\.payload.string) == [
                    #"{"updates":{"n":1,"keep":true}}"#, #"{"updates":{"n":2}}"#, #"{"data":1}"#, #"{"data":2}"#,
                    #"{"updates":{"status":"completed"},"replace":true}"#,
                ])
        },
        Case("results, loads, heads, lists, history and observed commits agree") { subject in
            let store = subject.store
            let log = CommitLog(store)
            let id = try flow("a")
            let answered = try await store.patch(id, #"{"n":1}"#, at: start.advanced(bySeconds: 3)).record
            let again = try await store.publish(id, [#"{"x":1}"#], at: start.advanced(bySeconds: 4)).record
            #expect(log.all.map(\.record) == [answered, again])
            #expect(log.all.map { $0.events.map(\.version) } == [[1], [2]])
            #expect(log.all.allSatisfy { $0.epoch == store.epoch })
            #expect(try await store.load(id) == again)
            #expect(try await store.heads(of: [id]) == [again?.head])
            #expect(try await store.list(FlowQuery(account: "1", limit: 10)).flows == [again?.head])
            #expect(try await store.page(of: id, after: 0, limit: PageLimit()).head == again?.head)
            #expect(try await store.page(of: id, after: 0, limit: PageLimit()).events == log.all.flatMap(\.events))
        },
        Case("a patch without effect creates no event") { subject in
            let store = subject.store
            let log = CommitLog(store)
            let id = try flow("a")
            _ = try await store.patch(id, #"{"a":1,"b":{"c":[1,2]}}"#)
            let same = try await store.patch(id, #"{"b":{"c":[1,2]},"gone":null}"#)
            #expect(same.isUnchanged)
            #expect(same.record?.version == 1)
            #expect(try await store.allEvents(of: id).count == 1)
            #expect(log.all.count == 1)
        },
        Case("events of one publish are committed all or none") { subject in
            let store = subject.store
            let id = try flow("a")
            let outcome = try await store.publish(id, (1...300).map { "\($0)" })
            guard case .applied(let record, let events, let created) = outcome else {
                Issue.record("not applied")
                return
            }
            #expect(created)
            #expect(record.version == 300)
            #expect(events.map(\.version) == Array(1...300))
            let tick = try type("tick")
            let rejected = try await store.apply(
                FlowChange(
                    flow: id, account: "1", body: .publish([.init(type: tick, data: .null), .init(type: tick, data: .null)]),
                    precondition: .absent, at: start))
            #expect(rejected.rejection == .preconditionFailed(300))
            #expect(try await store.allEvents(of: id).map(\.payload) == events.map(\.payload))
        },
        Case("a state over the size limit or with a reserved status is rejected and not written") { subject in
            let store = subject.store
            let id = try flow("a")
            let long = String(repeating: "x", count: 1_048_576)
            let rejected = try await store.replace(id, #"{"long":"\#(long)"}"#)
            #expect(rejected.rejection == .stateTooLarge(bytes: 1_048_576 + 11, limit: 1_048_576))
            #expect(try await store.patch(id, #"{"status":"deleted"}"#).rejection == .reservedStatus)
            #expect(try await store.load(id) == nil)
        },
    ]

    static let tombstones: [Case] = [
        Case("a delete creates an event and leaves a tombstone") { subject in
            let store = subject.store
            let id = try flow("a")
            #expect(try await store.delete(id).rejection == .notFound)
            _ = try await store.patch(id, #"{"n":1}"#)
            #expect(try await store.delete(id, account: "2").rejection == .notFound)
            let record = try #require(try await store.delete(id, at: start.advanced(bySeconds: 9)).record)
            #expect(record.version == 2)
            #expect(record.head.isDeleted)
            #expect(record.state == .emptyObject)
            #expect(try await store.load(id) == record)
            #expect(try await store.allEvents(of: id).last?.type == .flowDeleted)
            #expect(try await store.delete(id).rejection == .notFound)
            #expect(try await store.patch(id, "{}", if: .exists).rejection == .preconditionFailed(0))
        },
        Case("a re-created flow continues its versions, for the same account only") { subject in
            let store = subject.store
            let id = try flow("a")
            _ = try await store.patch(id, #"{"n":1}"#)
            _ = try await store.delete(id)
            #expect(try await store.patch(id, #"{"n":2}"#, account: "2").rejection == .otherAccount)
            let recreated = try await store.patch(id, #"{"m":2}"#, if: .absent)
            #expect(recreated.isCreated)
            #expect(recreated.record?.version == 3)
            #expect(try await store.load(id)?.state.string == #"{"m":2}"#)
            #expect(try await store.load(id)?.head.isDeleted == false)
            #expect(try await store.list(FlowQuery(account: "1", limit: 9)).flows.map(\.version) == [3])
            #expect(try await store.allEvents(of: id).map(\.version) == [1, 2, 3])
        },
    ]
}
