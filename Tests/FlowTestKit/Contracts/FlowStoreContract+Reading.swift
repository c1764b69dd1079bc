import FlowCore
import Testing

extension FlowStoreContract {
    static let text: [Case] = [
        Case("state and event data are returned byte for byte") { subject in
            let store = subject.store
            let id = try flow("a")
            let state = #"{"z":1,"a":"\u0000\ud83d\ude00\/é","n":[1.0,1e2,-0,1E+2,0.10,12345678901234567890],"z":2,"":{}}"#
            _ = try await store.replace(id, state)
            _ = try await store.publish(id, [#""\u0000 \u000a 😀""#, state])
            let reopened = try await subject.reopen()
            #expect(try await reopened.load(id)?.state.string == state)
            let payloads = try await reopened.allEvents(of: id).map(\.payload.string)
            #expect(
                payloads == [
                    #"{"updates":\#(state),"replace":true}"#, #"{"data":"\u0000 \u000a 😀"}"#, #"{"data":\#(state)}"#,
                ])
        }
    ]

    static let pages: [Case] = [
        Case("a history page stays within its limits and contains at least one event") { subject in
            let store = subject.store
            let id = try flow("a")
            let data = "\"" + String(repeating: "x", count: 1_000) + "\""
            _ = try await store.publish(id, Array(repeating: data, count: 20))
            #expect(try await store.page(of: id, after: 0, limit: PageLimit(events: 7)).events.map(\.version) == Array(1...7))
            #expect(try await store.page(of: id, after: 7, limit: PageLimit(bytes: 3_500)).events.map(\.version) == [8, 9, 10])
            #expect(try await store.page(of: id, after: 19, limit: PageLimit(events: 1, bytes: 1)).events.map(\.version) == [20])
            let end = try await store.page(of: id, after: 20, limit: PageLimit())
            #expect(end.events.isEmpty)
            #expect(end.headVersion == 20)
            #expect(try await store.page(of: id, after: 999, limit: PageLimit()).events.isEmpty)
            #expect(try await store.page(of: try flow("missing"), after: 0, limit: PageLimit()).head == nil)
        },
        Case("heads of many flows omit flows that never existed") { subject in
            let store = subject.store
            #expect(try await store.heads(of: []).isEmpty)
            var ids: [FlowID] = []
            for number in 0..<1_201 { ids.append(try flow("f\(number)")) }
            for id in ids where id.rawValue.hasSuffix("7") { _ = try await store.patch(id, #"{"n":1}"#) }
            _ = try await store.delete(ids[7])
            let heads = try await store.heads(of: ids)
            #expect(Set(heads.map(\.flow)) == Set(ids.filter { $0.rawValue.hasSuffix("7") }))
            #expect(heads.count == 120)
            #expect(heads.first { $0.flow == ids[7] }?.isDeleted == true)
        },
    ]

    static let lists: [Case] = [
        Case("lists flows by id, page by page, of one account and status") { subject in
            let store = subject.store
            for name in ["c", "a", "e", "b", "d"] { _ = try await store.patch(try flow(name), #"{"status":"running"}"#) }
            _ = try await store.patch(try flow("b"), #"{"status":"failed"}"#)
            _ = try await store.patch(try flow("other"), #"{"status":"running"}"#, account: "2")
            _ = try await store.delete(try flow("d"))
            func names(_ list: FlowList) -> String { list.flows.map(\.flow.rawValue).joined() + (list.hasMore ? "+" : "") }
            #expect(try await names(store.list(FlowQuery(account: "1", limit: 2))) == "ab+")
            #expect(try await names(store.list(FlowQuery(account: "1", order: .id(after: "b"), limit: 2))) == "ce")
            let running = FlowStatus(stored: "running")
            #expect(try await names(store.list(FlowQuery(account: "1", statuses: [running], limit: 9))) == "ace")
            #expect(try await names(store.list(FlowQuery(account: "1", includesDeleted: true, limit: 9))) == "abcde")
            #expect(try await names(store.list(FlowQuery(account: "3", limit: 9))) == "")
        },
        Case("lists flows by time of the last change") { subject in
            let store = subject.store
            for (second, name) in ["c", "a", "b"].enumerated() {
                _ = try await store.patch(try flow(name), #"{"n":1}"#, at: start.advanced(bySeconds: Int64(second)))
            }
            _ = try await store.patch(try flow("c"), #"{"n":2}"#, at: start.advanced(bySeconds: 9))
            _ = try await store.delete(try flow("a"), at: start.advanced(bySeconds: 5))
            func names(since second: Int64, deleted: Bool = false) async throws -> String {
                let order = FlowQuery.Order.changed(since: start.advanced(bySeconds: second), after: nil)
                let query = FlowQuery(account: "1", order: order, includesDeleted: deleted, limit: 9)
                return try await store.list(query).flows.map(\.flow.rawValue).joined()
            }
            #expect(try await names(since: 0) == "bc")
            #expect(try await names(since: 0, deleted: true) == "bac")
            #expect(try await names(since: 9) == "c")
            #expect(try await names(since: 10) == "")
            // Flows that changed at the same time are ordered by id.
            for name in ["x", "y", "z"] {
                _ = try await store.patch(try flow(name), #"{"n":1}"#, at: start.advanced(bySeconds: 20))
            }
            let order = FlowQuery.Order.changed(since: start.advanced(bySeconds: 20), after: try flow("x"))
            let rest = try await store.list(FlowQuery(account: "1", order: order, limit: 9))
            #expect(rest.flows.map(\.flow.rawValue) == ["y", "z"])
        },
        Case("lists flows with the newest changes first") { subject in
            let store = subject.store
            for (second, name) in ["c", "a", "b"].enumerated() {
                _ = try await store.patch(try flow(name), #"{"n":1}"#, at: start.advanced(bySeconds: Int64(second)))
            }
            for name in ["y", "x"] { _ = try await store.patch(try flow(name), #"{"n":1}"#, at: start.advanced(bySeconds: 7)) }
            _ = try await store.patch(try flow("other"), #"{"n":1}"#, account: "2", at: start.advanced(bySeconds: 8))
            _ = try await store.patch(try flow("c"), #"{"n":2}"#, at: start.advanced(bySeconds: 9))
            _ = try await store.delete(try flow("b"), at: start.advanced(bySeconds: 10))
            func names(_ limit: Int, deleted: Bool = false) async throws -> String {
                let list = try await store.list(
                    FlowQuery(account: "1", order: .newest, includesDeleted: deleted, limit: limit))
                return list.flows.map(\.flow.rawValue).joined() + (list.hasMore ? "+" : "")
            }
            #expect(try await names(9) == "cyxa", "flows that changed at the same time are ordered by descending id")
            #expect(try await names(9, deleted: true) == "bcyxa")
            #expect(try await names(2) == "cy+")
        },
        Case("lists flows by several statuses and ranges of ids, in every order") { subject in
            let store = subject.store
            let statuses = ["running", "failed", "completed", "waiting"]
            for (second, name) in ["a-1", "b-1", "a-2", "c-1", "b", "a", "b-2", "d"].enumerated() {
                let patch = #"{"status":"\#(statuses[second % 4])"}"#
                _ = try await store.patch(try flow(name), patch, at: start.advanced(bySeconds: Int64(second)))
            }
            _ = try await store.patch(try flow("a-3"), #"{"status":"running"}"#, account: "2")
            _ = try await store.delete(try flow("b-2"), at: start.advanced(bySeconds: 20))
            func names(
                _ patterns: [String], _ statuses: [String], _ order: FlowQuery.Order, deleted: Bool = false, limit: Int = 9
            ) async throws -> String {
                let filter = FlowFilter(
                    patterns: patterns.compactMap { FlowPattern($0) }, statuses: Set(statuses.map { FlowStatus(stored: $0) }))
                let query = FlowQuery(
                    account: "1", statuses: filter.statuses, order: order, idRanges: filter.idRanges, includesDeleted: deleted,
                    limit: limit)
                let list = try await store.list(query)
                return list.flows.map(\.flow.rawValue).joined(separator: " ") + (list.hasMore ? " +" : "")
            }
            let changed = FlowQuery.Order.changed(since: start.advanced(bySeconds: 1), after: nil)
            #expect(try await names(["a-*"], [], .newest) == "a-2 a-1")
            #expect(try await names(["a*", "b"], [], .newest) == "a b a-2 a-1")
            #expect(try await names(["b*"], [], .newest) == "b b-1")
            #expect(try await names(["b*"], [], .newest, deleted: true) == "b-2 b b-1")
            #expect(try await names([], ["running", "failed"], .newest) == "a b b-1 a-1")
            #expect(try await names([], ["running", "failed"], .newest, limit: 2) == "a b +")
            #expect(try await names(["a*", "d"], ["failed", "waiting", "completed"], .newest) == "d a a-2")
            #expect(try await names(["a*", "b*"], ["running", "failed"], changed) == "b-1 b a")
            #expect(try await names(["a*", "b*"], ["deleted"], changed, deleted: true) == "b-2")
            #expect(try await names(["a*", "d"], ["completed", "waiting"], .id(after: "a")) == "a-2 d")
            #expect(try await names(["x*", "y*"], [], .newest) == "")
            // More than one statement's number of placeholders.
            let many = (0..<40).map { "x-\($0)" } + ["c-1", "d"]
            #expect(try await names(many, (0..<20).map { "s\($0)" } + ["waiting"], .newest) == "d c-1")
        },
        Case("a write probe changes no flow") { subject in
            let store = subject.store
            _ = try await store.patch(try flow("a"), #"{"n":1}"#)
            let before = try await store.load(try flow("a"))
            let epoch = store.epoch
            try await store.probeWrite()
            #expect(try await store.load(try flow("a")) == before)
            #expect(try await store.refreshEpoch() == epoch)
        },
        Case("a subject has one revocation, and the latest time wins") { subject in
            let store = subject.store
            #expect(try await store.revocations().isEmpty)
            for (account, given, effective) in [("1", 30, 30), ("1", 50, 50), ("1", 40, 50), ("2", 10, 10)]
                as [(String, Int64, Int64)]
            {
                let outcome = try await store.revoke(Revocation(account: account, subject: "s", notBefore: given), now: start)
                #expect(outcome == .stored(Revocation(account: account, subject: "s", notBefore: effective)))
            }
            let stored = Set(try await subject.reopen().revocations())
            let expected: Set = [
                Revocation(account: "1", subject: "s", notBefore: 50), Revocation(account: "2", subject: "s", notBefore: 10),
            ]
            #expect(stored == expected)
        },
    ]
}
