import FlowCore
import Testing

extension FlowStoreContract {
    static let conditions: [Case] = [
        Case("preconditions on existence, absence and version are enforced") { subject in
            let store = subject.store
            let id = try flow("a")
            let epoch = store.epoch
            #expect(try await store.patch(id, "{}", if: .exists).rejection == .preconditionFailed(0))
            #expect(try await store.patch(id, #"{"n":1}"#, if: .absent).isCreated)
            #expect(try await store.patch(id, #"{"n":2}"#, if: .absent).rejection == .preconditionFailed(1))
            #expect(try await store.patch(id, #"{"n":2}"#, if: .version(epoch, 1)).record?.version == 2)
            #expect(try await store.patch(id, #"{"n":3}"#, if: .version(epoch, 1)).rejection == .preconditionFailed(2))
            let other = Epoch(counter: epoch.counter + 1, random: "x")
            #expect(try await store.patch(id, #"{"n":3}"#, if: .version(other, 2)).rejection == .preconditionFailed(2))
            #expect(try await store.load(id)?.state.string == #"{"n":2}"#)
        },
        Case("a newer fencing token rejects older ones, also after a restart") { subject in
            let store = subject.store
            let id = try flow("a")
            func fence(_ token: Int64, _ resource: String = "r") -> FlowChange.Fencing { .init(resource: resource, token: token) }
            #expect(try await store.patch(id, #"{"n":1}"#, fencing: fence(7)).record?.version == 1)
            #expect(try await store.patch(id, #"{"n":2}"#, fencing: fence(9)).record?.version == 2)
            let stale = FlowOutcome.Rejection.staleFencingToken(resource: "r", highest: 9)
            #expect(try await store.patch(id, #"{"n":3}"#, fencing: fence(8)).rejection == stale)
            #expect(try await store.patch(id, #"{"n":3}"#, fencing: fence(1, "other")).record?.version == 3)
            let reopened = try await subject.reopen()
            #expect(try await reopened.patch(id, #"{"n":4}"#, fencing: fence(8)).rejection == stale)
            #expect(try await reopened.patch(id, #"{"n":4}"#, fencing: fence(9)).record?.version == 4)
        },
        Case("fencing tokens only increase, also after a restart and a raised epoch") { subject in
            let store = subject.store
            let first = try await store.nextFencingToken()
            let second = try await store.nextFencingToken()
            #expect(first > 0)
            #expect(second > first)
            _ = try await store.raiseEpoch(from: store.epoch, now: start)
            let third = try await store.nextFencingToken()
            #expect(third > second + 1_000)
            #expect(try await subject.reopen().nextFencingToken() > third)
        },
        Case("fencing tokens continue beyond those of an exported store") { subject in
            let store = subject.store
            let exported = try await store.nextFencingToken() + 5_000_000
            try await store.advanceFencing(beyond: exported)
            let next = try await store.nextFencingToken()
            #expect(next > exported)
            try await store.advanceFencing(beyond: 1)
            #expect(try await store.nextFencingToken() > next)
            #expect(try await subject.reopen().nextFencingToken() > next)
        },
    ]

    static let idempotency: [Case] = [
        Case("keys of the hub's own changes are apart from those of requests") { subject in
            let store = subject.store
            let id = try flow("a")
            let request = FlowChange.Idempotency(key: "import:x:stored", fingerprint: String(repeating: "0", count: 32))
            #expect(try await store.publish(id, ["1"], key: request).record?.version == 1)
            let own = FlowChange.Idempotency.ofHub("import:x:stored", fingerprint: "x")
            #expect(try await store.publish(id, ["2"], key: own).record?.version == 2)
            #expect(try await store.publish(id, ["2"], key: own).reply?.versions == [2])
            // The reply that an earlier release has stored under the former key.
            let former = FlowChange.Idempotency(key: "import:y:stored", fingerprint: "y")
            #expect(try await store.publish(id, ["3"], key: former).record?.version == 3)
            let again = FlowChange.Idempotency.ofHub("import:y:stored", fingerprint: "y")
            #expect(try await store.publish(id, ["3"], key: again).reply?.versions == [3])
            #expect(try await store.load(id)?.version == 3)
        },
        Case("a repeated request gets the stored reply and is not applied again") { subject in
            let store = subject.store
            let id = try flow("a")
            let key = FlowChange.Idempotency(key: "k", fingerprint: "f")
            #expect(try await store.publish(id, ["1", "2"], key: key).record?.version == 2)
            let reply = try #require(try await store.publish(id, ["1", "2"], key: key).reply)
            #expect(reply == StoredReply(fingerprint: "f", status: 201, flow: id, versions: [1, 2]))
            #expect(try await store.allEvents(of: id).count == 2)
            let reopened = try await subject.reopen()
            #expect(try await reopened.publish(id, ["1", "2"], key: key).reply == reply)
            // Idempotency keys are scoped to an account.
            #expect(try await reopened.publish(try flow("b"), ["1"], account: "2", key: key).record?.version == 1)
        },
        Case("an idempotency key with another request is a conflict") { subject in
            let store = subject.store
            let id = try flow("a")
            _ = try await store.patch(id, #"{"n":1}"#, key: .init(key: "k", fingerprint: "f"))
            let other = try await store.patch(id, #"{"n":2}"#, key: .init(key: "k", fingerprint: "g"))
            #expect(other.rejection == .idempotencyConflict)
            #expect(try await store.load(id)?.version == 1)
        },
        Case("a replay precedes every other condition, and a rejection is not stored") { subject in
            let store = subject.store
            let id = try flow("a")
            let key = FlowChange.Idempotency(key: "k", fingerprint: "f")
            #expect(try await store.patch(id, #"{"n":1}"#, if: .exists, key: key).rejection == .preconditionFailed(0))
            let fencing = FlowChange.Fencing(resource: "r", token: 1)
            #expect(try await store.patch(id, #"{"n":1}"#, if: .absent, key: key, fencing: fencing).isCreated)
            _ = try await store.patch(id, #"{"n":2}"#, fencing: .init(resource: "r", token: 5))
            let reply = try await store.patch(id, #"{"n":1}"#, if: .absent, key: key, fencing: fencing).reply
            #expect(reply == StoredReply(fingerprint: "f", status: 201, flow: id, versions: [1]))
        },
        Case("stored replies repeat status and versions") { subject in
            let store = subject.store
            let id = try flow("a")
            func key(_ name: String) -> FlowChange.Idempotency { .init(key: name, fingerprint: "f") }
            func status(_ outcome: FlowOutcome) -> [Int64] { outcome.reply.map { [Int64($0.status)] + $0.versions } ?? [] }
            _ = try await store.patch(id, #"{"n":1}"#, key: key("create"))
            _ = try await store.patch(id, #"{"n":1}"#, key: key("same"))
            _ = try await store.replace(id, #"{"n":2}"#, key: key("replace"))
            _ = try await store.delete(id, key: key("delete"))
            #expect(try await status(store.patch(id, #"{"n":1}"#, key: key("create"))) == [201, 1])
            #expect(try await status(store.patch(id, #"{"n":1}"#, key: key("same"))) == [200, 1])
            #expect(try await status(store.replace(id, #"{"n":2}"#, key: key("replace"))) == [200, 2])
            #expect(try await status(store.delete(id, key: key("delete"))) == [200, 3])
        },
    ]
}
