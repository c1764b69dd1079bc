import FlowCore
import FlowTestKit
import Foundation
import Testing

/// For another account a flow does not exist: no route tells whether an id is unused, in use or was deleted.
@Suite(
    .hub([
        "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_JWT_LEEWAY": "0", "FLOWHUB_HEARTBEAT_SECONDS": "300",
    ]))
struct AccountSecrecyTests {
    private static let owner = "8"
    /// Flow ids of equal length: one that does not exist, one of another account, and one that this account has deleted.
    private static let ids = (absent: "flow-absent", foreign: "flow-theirs", deleted: "flow-erased")

    private static func api(_ token: TestToken) throws -> HubAPI {
        try SharedHub.hub.api.with(header: "Authorization", "Bearer \(token.text)")
    }

    /// Creates the two flows of the other account.
    private static func createForeignFlows() async throws {
        let theirs = try Self.api(TestToken(account: Self.owner))
        for id in [Self.ids.foreign, Self.ids.deleted] {
            #expect(try await theirs.put(id, jsonText(#"{"secret":1,"status":"completed"}"#)).isAcknowledged)
        }
        #expect(try await theirs.delete(Self.ids.deleted).isAcknowledged)
    }

    /// The response without its time and the request's id, with the flow's id and the random `retry:` replaced.
    private static func comparable(_ text: String, _ id: String) -> String {
        text.replacing(id, with: "ID").replacing(/"request_id":"[^"]{13}"/, with: "")
            .split(separator: "\r\n", omittingEmptySubsequences: false)
            .filter { !$0.lowercased().hasPrefix("date:") && !$0.hasPrefix("X-Request-ID:") }.joined(separator: "\n")
            .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("retry:") }.joined(separator: "\n")
    }

    /// Sends a request on a connection of its own.
    /// - Parameter end: the response is complete when it contains this text; `nil`: when the connection ends.
    private static func response(_ head: String, _ body: String, end: String?) async throws -> String {
        let exchange = try await RawExchange.open(port: SharedHub.hub.port)
        defer { exchange.close() }
        try await exchange.send(head + "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n" + body)
        if let end {
            try await eventually("the end of the response") { exchange.receivedText.contains(end) }
        } else {
            try await exchange.waitUntilClosed()
        }
        return exchange.receivedText
    }

    /// Request lines with `{flow}` in place of the flow's id, header lines, body, and the status that each flow is answered with.
    private static let requests: [(line: String, header: String, body: String, status: Int)] = [
        ("GET /v1/flows/{flow}/state", "", "", 404), ("GET /v1/flows/{flow}/state", "If-None-Match: *", "", 404),
        ("HEAD /v1/flows/{flow}/state", "", "", 404), ("GET /v1/flows/{flow}/history", "", "", 404),
        ("GET /v1/flows/{flow}/history?after=1&limit=1", "", "", 404), ("GET /v1/flows/{flow}/connections", "", "", 200),
        ("DELETE /v1/flows/{flow}/state", "", "", 404), ("DELETE /v1/flows/{flow}/state", "Fencing-Token: r=1", "", 404),
        ("DELETE /v1/flows/{flow}/state", "Idempotency-Key: k-{flow}", "", 404),
        ("DELETE /v1/flows/{flow}/state", "If-Match: *", "", 412),
        ("PATCH /v1/flows/{flow}/state", "If-Match: *", #"{"a":1}"#, 412),
        ("PATCH /v1/flows/{flow}/state", #"If-Match: "{epoch}-1""#, #"{"a":1}"#, 412),
        ("PUT /v1/flows/{flow}/state", "If-Match: *", "{}", 412),
        ("POST /v1/flows/{flow}/events", "If-Match: *", #"{"type":"a"}"#, 412),
        ("POST /v1/flows/{flow}/events", "", #"{"type":"a","durable":false}"#, 202),
        ("POST /v1/flows/{flow}/events", "", #"[{"type":"a","durable":false},{"type":"b","durable":false}]"#, 202),
        ("GET /v1/imports?flow_id={flow}", "", "", 200),
    ]
    private static let streams: [(target: String, header: String)] = [
        ("/v1/flows/{flow}/events", ""), ("/v1/flows/{flow}/events?snapshot=0", ""),
        ("/v1/flows/{flow}/events?last_event_id=0", ""),
        ("/v1/flows/{flow}/events", "Last-Event-ID: {epoch}-1"), ("/v1/flows/{flow}/events", "Last-Event-ID: {epoch}-2"),
        ("/v1/flows/{flow}/events?types=a", ""), ("/v1/events?flow={flow}&flow=own", ""),
    ]

    @Test func everyRouteAnswersForeignFlowLikeAbsentOne() async throws {
        try await Self.createForeignFlows()
        let token = TestToken(account: "7", scopes: ["admin", "imports"])
        let own = try await Self.api(token).put("own", .emptyObject)
        let epoch = try #require(own.reply.header("etag")?.split(separator: "-").first?.dropFirst())
        for (line, header, body, status) in Self.requests {
            var seen: [String] = []
            for id in [Self.ids.absent, Self.ids.foreign, Self.ids.deleted] {
                let head = """
                    \(line) HTTP/1.1\r
                    Host: localhost\r
                    Authorization: Bearer \(token.text)\r
                    \(header.isEmpty ? "" : header + "\r\n")
                    """.replacing("{flow}", with: id).replacing("{epoch}", with: epoch)
                seen.append(Self.comparable(try await Self.response(head, body, end: nil), id))
            }
            #expect(seen[0].hasPrefix("HTTP/1.1 \(status) "), "\(line): \(seen[0])")
            #expect(seen[1] == seen[0], "\(line) \(header)")
            #expect(seen[2] == seen[0], "\(line) \(header)")
        }
        for (target, header) in Self.streams {
            var seen: [String] = []
            for id in [Self.ids.absent, Self.ids.foreign, Self.ids.deleted] {
                let head = """
                    GET \(target) HTTP/1.1\r
                    Host: localhost\r
                    Authorization: Bearer \(token.text)\r
                    \(header.isEmpty ? "" : header + "\r\n")
                    """.replacing("{flow}", with: id).replacing("{epoch}", with: epoch)
                // Flows of one stream may come in any order.
                let text = try await Self.response(
                    head, "", end: "event: caught_up\ndata: {\"type\":\"caught_up\",\"flow_id\":\"\(id)\"")
                seen.append(
                    target.contains("own")
                        ? Self.comparable(text, id).split(separator: "\n").filter { $0.contains("\"ID\"") }.joined(
                            separator: "\n")
                        : Self.comparable(text, id))
            }
            #expect(seen[0].contains("caught_up") || target.contains("own"), "\(target): \(seen[0])")
            #expect(seen[1] == seen[0], "\(target) \(header)")
            #expect(seen[2] == seen[0], "\(target) \(header)")
        }
    }

    @Test func onlyCreationTellsThatAnIdIsTaken() async throws {
        try await Self.createForeignFlows()
        let mine = try Self.api(TestToken(account: "7", scopes: ["imports"]))
        for id in [Self.ids.foreign, Self.ids.deleted] {
            for written in [
                try await mine.put(id, .emptyObject), try await mine.patch(id, .emptyObject),
                try await mine.publish("a", .null, to: id),
            ] {
                #expect(written.status == 403 && written.reply.problemCode == "forbidden", "\(written.reply.text)")
            }
        }
        let theirs = try Self.api(TestToken(account: Self.owner))
        #expect(try await theirs.history(of: Self.ids.foreign)?.events.allSatisfy { !$0.string.contains("\"a\"") } == true)
    }

    @Test(arguments: [false, true])
    func streamDoesNotShowThatOtherAccountCreatesFlow(withAnother: Bool) async throws {
        let flow = "bound-\(withAnother)"
        let target: StreamTarget = withAnother ? .flows([flow, "bound-mine"]) : .flow(flow)
        func stream(_ target: StreamTarget, _ account: String) async throws -> EventStreamClient {
            let token = TestToken(account: account)
            let stream = EventStreamClient(
                target.with { $0.headers.append(token.header) }, port: try SharedHub.hub.port, name: account)
            try await stream.connect()
            return stream
        }
        let mine = try await stream(target, "7")
        let theirs = try await stream(.flow(flow), Self.owner)
        for stream in [mine, theirs] {
            _ = try await stream.next("the empty flow") { $0.flow == flow && $0.event == "caught_up" }
        }
        let api = try Self.api(TestToken(account: Self.owner))
        #expect(try await api.put(flow, jsonText(#"{"secret":"s3cr3t"}"#)).status == 201)
        _ = try await theirs.next(event: "state_update")
        #expect(try await api.publish("tick", jsonText(#""s3cr3t""#), to: flow, durable: false).status == 202)
        _ = try await theirs.next(event: "tick")
        #expect(try await api.delete(flow).status == 200)
        _ = try await theirs.next(event: "flow_deleted")
        // A transient event of the own account arrives, as on a flow that does not exist, and nothing before it.
        let own = try Self.api(TestToken(account: "7"))
        #expect(try await own.publish("mark", .null, to: flow, durable: false).status == 202)
        _ = try await mine.next(event: "mark")
        let blocks = mine.log.blocks.filter { $0.flow == flow }
        #expect(blocks.compactMap(\.event) == ["snapshot", "caught_up", "mark"], "\(blocks)")
        if withAnother {
            #expect(try await own.put("bound-mine", .emptyObject).status == 201)
            _ = try await mine.next("the other flow's change") { $0.flow == "bound-mine" && $0.event == "state_update" }
        }
        #expect(mine.isConnected)
        #expect(!mine.log.blocks.contains { ($0.data ?? "").contains("s3cr3t") })
        #expect(!theirs.log.blocks.contains { $0.event == "mark" })
    }

    @Test func presenceCountsOnlyStreamsOfAccount() async throws {
        for flow in ["room-none", "room-theirs"] {
            if flow == "room-theirs" {
                let theirs = try Self.api(TestToken(account: Self.owner))
                #expect(try await theirs.put(flow, .emptyObject).status == 201)
            }
            var streams: [EventStreamClient] = []
            for account in [Self.owner, Self.owner, Self.owner, "7", "7"] {
                let token = TestToken(account: account)
                let stream = EventStreamClient(
                    .flow(flow).with {
                        $0.wantsPresence = true
                        $0.headers.append(token.header)
                    }, port: try SharedHub.hub.port, name: account)
                try await stream.connect()
                streams.append(stream)
            }
            for (index, count) in [(0, Int64(3)), (4, 2)] {
                _ = try await streams[index].next("\(count) of the account") {
                    $0.event == "presence" && $0.json.member("count")?.intValue == count
                }
            }
            for stream in streams[3...] {
                #expect(stream.log.events("presence").allSatisfy { ($0.json.member("count")?.intValue ?? 9) <= 2 })
            }
        }
    }

    @Test func listContinuesWithoutNamingHiddenFlows() async throws {
        let all = try Self.api(TestToken(account: "list"))
        for flow in ["a-secret", "seen", "seen-1", "seen-2", "seen-3", "t-secret", "u", "z-secret"] {
            #expect(try await all.put(flow, .emptyObject).status == 201)
        }
        let some = try Self.api(TestToken(account: "list", subscribe: ["u", "seen-*", "seen-1", "v*"]))
        for limit in [1, 2, 3, 4, 5] {
            var found: [String] = []
            var after = ""
            var pages = 0
            repeat {
                let reply = try await some.call("GET", "/v1/flows?limit=\(limit)&after=\(after)")
                #expect(!reply.text.contains("secret"), "\(reply.text)")
                found += reply.json.member("flows")?.elements.compactMap { $0.member("flow_id")?.stringValue } ?? []
                after = reply.json.member("next")?.stringValue ?? ""
                pages += 1
                #expect(after.isEmpty || found.last == after)
            } while !after.isEmpty && pages < 9
            #expect(found == ["seen-1", "seen-2", "seen-3", "u"], "limit \(limit)")
            #expect(pages == (4 + limit - 1) / limit, "limit \(limit)")
        }
        let none = try await Self.api(TestToken(account: "list", subscribe: ["b*"])).call("GET", "/v1/flows?limit=1")
        #expect(none.text == #"{"flows":[],"next":null}"#)
    }
}
