import FlowCore
import FlowTestKit
import Testing

/// The ordinary routes: conditions, idempotency keys, pages and rejections.
@Suite(.hub())
struct RoutesTests {
    private static func put(_ flow: String, _ body: String, _ headers: [(name: String, value: String)] = []) async throws
        -> HTTPReply
    {
        try await SharedHub.hub.call("PUT", "/v1/flows/\(flow)/state", headers: headers, body: body)
    }

    @Test func conditionalRequestsMatchVersionTag() async throws {
        let hub = try SharedHub.hub
        let created = try await Self.put("tagged", #"{"a":1}"#, [("If-None-Match", "*")])
        #expect(created.status == 201)
        let tag = try #require(created.header("etag"))
        #expect(try await hub.api.state(of: "tagged")?.tag == tag)
        let repeatedPut = try await Self.put("tagged", "{}", [("If-None-Match", "*")])
        #expect(
            repeatedPut.status == 412 && repeatedPut.problemCode == "precondition_failed"
                && repeatedPut.json.member("version")?.intValue == 1)
        for (condition, status) in [(tag, 304), ("W/\(tag)", 304), ("*", 304), ("\"other\"", 200)] {
            let read = try await hub.call("GET", "/v1/flows/tagged/state", headers: [("If-None-Match", condition)])
            #expect(read.status == status && read.body.isEmpty == (status == 304), "\(condition)")
            #expect(read.header("etag") == tag)
        }
        let changed = try await Self.put("tagged", #"{"a":2}"#, [("If-Match", tag)])
        #expect(changed.status == 200 && changed.header("etag") != tag)
        for (method, target, body) in [
            ("PUT", "state", "{}"), ("PATCH", "state", #"{"b":1}"#), ("DELETE", "state", nil),
            ("POST", "events", #"{"type":"a"}"#),
        ] {
            let stale = try await hub.call(method, "/v1/flows/tagged/\(target)", headers: [("If-Match", tag)], body: body)
            #expect(stale.status == 412 && stale.json.member("version")?.intValue == 2, "\(method): \(stale.text)")
            let missing = try await hub.call(method, "/v1/flows/nowhere/\(target)", headers: [("If-Match", "*")], body: body)
            #expect(missing.status == 412 || (method == "DELETE" && missing.status == 404), "\(method): \(missing.text)")
        }
        for bad in ["tagged", "\"x", "", "\(tag) \(tag)"] {
            #expect(try await Self.put("tagged", "{}", [("If-Match", bad)]).problemCode == "bad_precondition", "\(bad)")
        }
        let now = try #require(changed.header("etag"))
        for other in ["\"x\"", "\"\"", "W/\(tag)", "\(tag), \"a,b\""] {
            let reply = try await Self.put("tagged", "{}", [("If-Match", other)])
            #expect(reply.status == 412 && reply.json.member("version")?.intValue == 2, "\(other)")
        }
        #expect(
            try await Self.put("tagged", #"{"a":3}"#, [("If-Match", "\"x\", \(now)"), ("Idempotency-Key", "tag")]).status == 200)
        let repeated = try await Self.put("tagged", #"{"a":3}"#, [("If-Match", "\"x\", \(now)"), ("Idempotency-Key", "tag")])
        #expect(repeated.status == 200 && repeated.header("idempotency-replayed") == "true", "the key must be checked first")
        let unchanged = try await hub.api.patch("tagged", jsonText(#"{"a":3}"#))
        #expect(unchanged.status == 200 && unchanged.version == 3)
        #expect(try await hub.api.history(of: "tagged")?.events.count == 3)
        // A tag is a version: a weak one is the same.
        let latest = try #require(unchanged.reply.header("etag"))
        #expect(try await Self.put("tagged", #"{"a":4}"#, [("If-Match", "\(tag), \"a,b\", W/\(latest)")]).status == 200)
    }

    @Test func executesRequestOncePerIdempotencyKey() async throws {
        let hub = try SharedHub.hub
        let key = [("Idempotency-Key", "k-1")]
        for (method, target, body) in [
            ("PUT", "/v1/flows/once-put/state", #"{"a":1}"#), ("PATCH", "/v1/flows/once-patch/state", #"{"a":1}"#),
            ("POST", "/v1/flows/once-post/events", #"[{"type":"a"},{"type":"b"}]"#),
        ] {
            let headers = [("Idempotency-Key", target)]
            let first = try await hub.call(method, target, headers: headers, body: body)
            #expect(first.status == 201 && first.header("idempotency-replayed") == nil)
            let second = try await hub.call(method, target, headers: headers, body: body)
            #expect(second.status == 201 && second.header("idempotency-replayed") == "true")
            #expect(second.json.member("version") == first.json.member("version"))
            let other = try await hub.call(method, target, headers: headers, body: body + " ")
            #expect(other.status == 422 && other.problemCode == "idempotency_conflict")
        }
        #expect(try await hub.api.history(of: "once-post")?.version == 2)
        // Only successful responses are stored for an idempotency key.
        #expect(try await Self.put("once", "[]", key).status == 422)
        #expect(try await Self.put("once", "{}", key).status == 201)
        for bad in ["", "a b", "é", String(repeating: "a", count: 256)] {
            #expect(try await Self.put("once", "{}", [("Idempotency-Key", bad)]).problemCode == "bad_idempotency_key", "\(bad)")
        }
        #expect(try await Self.put("once", #"{"a":1}"#, [("Idempotency-Key", String(repeating: "~", count: 255))]).status == 200)
    }

    @Test func historyPagesContainEachEventOnce() async throws {
        let hub = try SharedHub.hub
        for _ in 0..<3 { _ = try await hub.api.publish((0..<10).map { _ in ("row", JSONText.null) }, to: "paged") }
        var versions: [Version] = []
        var after: Version? = 0
        while let from = after {
            let page = try await hub.call("GET", "/v1/flows/paged/history?after=\(from)&limit=7").json
            #expect(page.member("version")?.intValue == 30)
            versions += page.member("events")?.elements.compactMap { $0.member("version")?.intValue } ?? []
            after = page.member("next")?.intValue
        }
        #expect(versions == Array(1...30))
        let end = try await hub.call("GET", "/v1/flows/paged/history?after=30").json
        #expect(end.member("events")?.elements.isEmpty == true && end.member("next")?.isNull == true)
        for query in ["after=-1", "after=x", "limit=0", "limit=-1", "limit=x", "after=99999999999999999999"] {
            let reply = try await hub.call("GET", "/v1/flows/paged/history?\(query)")
            #expect(reply.status == 400 && reply.problemCode == "bad_parameter", "\(query): \(reply.text)")
        }
    }

    @Test func listsFlowsByPageAndStatus() async throws {
        try await HubProcess.running { hub in
            for number in 10..<30 {
                _ = try await hub.api.put(
                    "f\(number)", jsonText(number.isMultiple(of: 3) ? #"{"status":"completed"}"# : #"{"status":"running"}"#))
            }
            _ = try await hub.api.delete("f20")
            _ = try await hub.api.put("plain", .emptyObject)
            func list(_ query: String) async throws -> [String] {
                var ids: [String] = []
                var after = ""
                while true {
                    let page = try await hub.call("GET", "/v1/flows?limit=4&after=\(after)&\(query)").json
                    let flows = page.member("flows")?.elements ?? []
                    #expect(flows.count <= 4)
                    ids += flows.compactMap { $0.member("flow_id")?.stringValue }
                    guard let next = page.member("next")?.stringValue else { return ids }
                    try #require(next > after, "the list goes in circles")
                    after = next
                }
            }
            let live = (10..<30).filter { $0 != 20 }
            // An empty `after` means the start of the list.
            #expect(try await list("") == live.map { "f\($0)" } + ["plain"])
            #expect(try await list("status=completed") == live.filter { $0.isMultiple(of: 3) }.map { "f\($0)" })
            #expect(try await list("status=active") == ["plain"])
            #expect(try await list("status=deleted") == ["f20"])
            #expect(try await list("status=nothing").isEmpty)
            for limit in ["0", "-1", "x"] {
                #expect(try await hub.call("GET", "/v1/flows?limit=\(limit)").problemCode == "bad_parameter")
            }
        }
    }

    @Test func deletedFlowKeepsHistoryAndContinuesVersions() async throws {
        let hub = try SharedHub.hub
        #expect(try await hub.api.put("gone", jsonText(#"{"a":1}"#)).status == 201)
        let deleted = try await hub.api.delete("gone").reply
        #expect(
            deleted.status == 200 && deleted.json.member("status")?.stringValue == "deleted"
                && deleted.json.member("state")?.string == "{}")
        #expect(try await hub.call("GET", "/v1/flows/gone/state").status == 404)
        #expect(try await hub.api.delete("gone").status == 404)
        #expect(try await hub.api.history(of: "gone")?.events.count == 2)
        let recreated = try await hub.api.put("gone", jsonText(#"{"b":1}"#))
        #expect(recreated.status == 201 && recreated.version == 3)
    }

    @Test(
        arguments: [
            ("GET /v1/flows/none/state", "", 404, "not_found"), ("GET /v1/flows/none/history", "", 404, "not_found"),
            ("GET /v1/nothing", "", 404, "not_found"), ("GET /nothing", "", 404, "not_found"),
            ("POST /health/live", "", 405, "method_not_allowed"),
            ("DELETE /v1/flows/none/events", "", 405, "method_not_allowed"),
            ("DELETE /v1/flows/none/state", "", 404, "not_found"),
            ("DELETE /v1/connections/i.1", "", 404, "not_found"), ("PUT /v1/flows/a/state", "[]", 422, "state_not_object"),
            ("PATCH /v1/flows/a/state", "1", 422, "state_not_object"),
            ("PUT /v1/flows/a/state", #"{"status":"deleted"}"#, 422, "reserved_status"),
            ("POST /v1/flows/a/events", "[]", 422, "empty_batch"), ("POST /v1/flows/a/events", "1", 422, "bad_event"),
            ("POST /v1/flows/a/events", #"{"type":"a","durable":1}"#, 422, "bad_event"),
            ("POST /v1/flows/a/events", "{}", 422, "bad_event_type"),
            ("POST /v1/flows/a/events", #"{"type":"a","id":1}"#, 422, "unknown_member"),
            ("POST /v1/flows/a/events", #"[{"type":"a"},{"type":"a","durable":false}]"#, 422, "mixed_batch"),
            ("POST /v1/revocations", "{}", 422, "bad_revocation"),
            ("POST /v1/revocations", #"{"subject":"a","not_before":-1}"#, 422, "bad_revocation"),
        ])
    func invalidRequestsReturnProblemDetails(_ request: String, _ body: String, _ status: Int, _ code: String) async throws {
        let parts = request.split(separator: " ").map { String($0) }
        let reply = try await SharedHub.hub.call(parts[0], parts[1], body: body.isEmpty ? nil : body)
        #expect(reply.status == status, "\(reply.text)")
        #expect(reply.header("content-type") == "application/problem+json")
        #expect(reply.problemCode == code)
        #expect(reply.json.member("status")?.intValue == Int64(status) && reply.json.member("type")?.stringValue == "about:blank")
        #expect(
            reply.json.member("title")?.stringValue?.isEmpty == false
                && reply.json.member("detail")?.stringValue?.isEmpty == false)
    }

    @Test func rejectsUnsupportedMediaTypesOfChanges() async throws {
        let hub = try SharedHub.hub
        for (method, type, status) in [
            ("PATCH", "application/merge-patch+json", 200), ("PATCH", "application/json", 200),
            ("PATCH", "Application/JSON; charset=utf-8", 200),
            ("PATCH", "application/json-patch+json", 415), ("PATCH", "text/plain", 415), ("PUT", "application/json", 200),
            ("PUT", "text/html", 415),
            ("PUT", "application/merge-patch+json", 415),
        ] {
            _ = try await hub.api.put("typed", .emptyObject)
            let reply = try await hub.call(method, "/v1/flows/typed/state", headers: [("Content-Type", type)], body: #"{"a":1}"#)
            #expect(reply.status == status, "\(method) \(type): \(reply.text)")
            if status == 415 {
                #expect(
                    reply.problemCode == "unsupported_media_type" && reply.header("accept")?.contains("application/json") == true)
            }
        }
    }

    @Test(arguments: ["/v1/flows", "/v1/flows/headed/state", "/v1/flows/headed/history", "/v1/flows/none/state"])
    func answersHEADLikeGETWithoutBody(_ target: String) async throws {
        let hub = try SharedHub.hub
        if target.contains("headed") { _ = try await hub.api.put("headed", .emptyObject) }
        let (get, head) = (try await hub.call("GET", target), try await hub.call("HEAD", target))
        #expect(head.status == get.status && head.body.isEmpty)
        for name in ["content-type", "etag"] { #expect(head.header(name) == get.header(name)) }
    }
}
