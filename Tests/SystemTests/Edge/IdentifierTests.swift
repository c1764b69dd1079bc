import FlowCore
import FlowTestKit
import Testing

/// Identifiers are checked against their allow-list before they are used.
@Suite(.hub())
struct IdentifierTests {
    /// Invalid identifiers as they appear in a request target.
    static let badIDs = [
        "..", ".", "%2e", "%2e%2e", "%2e%2e%2f", "..%2f..%2fetc%2fpasswd", "a%2fb", "a/b", "", "%00", "a%00", "a%0d%0ab", "a%0ab",
        "%20",
        "a+b", "%F0%9F%98%80", "%C3%A9", "%7Btag%7D", "{tag}", "*", "a*", "a%3Fb", "%", "%zz", "%ff", "%c0%ae%c0%ae",
        "a%25", "a'b", "a%22b", "a;b", "a%5cb", "a@b", "%e2%80%a8", String(repeating: "a", count: 129),
        String(repeating: "%61", count: 129),
    ]

    static let routes: [(method: String, before: String, after: String)] = [
        ("GET", "/v1/flows/", "/state"), ("PUT", "/v1/flows/", "/state"), ("PATCH", "/v1/flows/", "/state"),
        ("DELETE", "/v1/flows/", "/state"), ("GET", "/v1/flows/", "/history"), ("GET", "/v1/flows/", "/connections"),
        ("GET", "/v1/flows/", "/events"), ("POST", "/v1/flows/", "/events"), ("GET", "/v1/events?flow=", ""),
        ("GET", "/v1/events?flow=good&flow=", ""), ("GET", "/v1/flows?after=", ""), ("POST", "/v1/locks/", ""),
        ("PUT", "/v1/locks/", "?lock_id=x"),
        ("DELETE", "/v1/locks/", "?lock_id=x"), ("GET", "/v1/patterns/", ""), ("PUT", "/v1/patterns/", ""),
        ("DELETE", "/v1/patterns/", ""), ("DELETE", "/v1/connections/", ""),
    ]

    @Test(arguments: routes.map { "\($0.method) \($0.before)ID\($0.after)" })
    func everyRouteRejectsInvalidID(_ name: String) async throws {
        let hub = try SharedHub.hub
        let route = try #require(Self.routes.first { "\($0.method) \($0.before)ID\($0.after)" == name })
        let isQuery = route.before.contains("?")
        let caller = HTTPCaller(port: hub.port)
        for id in Self.badIDs {
            // An empty `after` means the start of the list.
            if route.before.hasSuffix("after="), id.isEmpty { continue }
            let body: [UInt8]? =
                ["PUT", "PATCH", "POST"].contains(route.method)
                ? Array((route.after.hasSuffix("events") ? #"{"type":"a"}"# : "{}").utf8) : nil
            let target = route.before + id + route.after
            let reply = try await caller.perform(HTTPCall(route.method, target, body: body))
            // An identifier that is empty or has a slash results in a different path.
            let codes: Set<Int> = isQuery ? [400] : id.contains("/") || id.isEmpty ? [400, 404, 405] : [400, 404]
            #expect(codes.contains(reply.status), "\(route.method) \(target): \(reply.status) \(reply.text)")
            if !isQuery, reply.status == 404, !id.contains("/"), !id.isEmpty {
                #expect(Bool(false), "\(route.method) \(target): answered 404, so the identifier was looked up")
            }
        }
        #expect(try await hub.call("GET", "/v1/flows").json.member("flows")?.elements.isEmpty == true)
        #expect(try await hub.call("GET", "/health/live").status == 200)
    }

    @Test func acceptsLongestAndUnusualValidIDs() async throws {
        try await HubProcess.running { hub in
            for id in [String(repeating: "a", count: 128), "...", "a..b", "-", "_", ":", "a:b.c-d_E9", "-1", "0"] {
                #expect(try await hub.api.put(id, .emptyObject).status == 201)
                #expect(try await hub.api.state(of: id)?.version == 1)
                let watcher = EventStreamClient(.flow(id), port: hub.port)
                try await watcher.connect()
                #expect(try await watcher.next(event: "snapshot").flow == id)
                #expect(try await hub.call("POST", "/v1/locks/\(id)").status == 201)
                let pattern = try await hub.call("PUT", "/v1/patterns/\(id)", body: #"{"pattern":1,"confidence":1}"#)
                #expect(pattern.status == 201)
            }
            #expect(
                try await hub.call("GET", "/v1/flows/%61%3ab.c-d_E9/state").json.member("flow_id")?.stringValue == "a:b.c-d_E9")
        }
    }
}
