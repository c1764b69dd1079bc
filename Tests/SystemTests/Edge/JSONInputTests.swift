import FlowCore
import FlowTestKit
import Testing

/// Request bodies with invalid JSON, or with JSON over the limits.
@Suite(.hub())
struct JSONInputTests {
    struct Input: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        var code = "bad_json"
        var testDescription: String { self.name }
    }

    private static func data(_ name: String, _ value: [UInt8], _ code: String = "bad_json") -> Input {
        // An object with a type is valid for every route.
        Input(name: name, bytes: Array(#"{"type":"a","data":"#.utf8) + value + Array("}".utf8), code: code)
    }

    private static func data(_ name: String, _ value: String, _ code: String = "bad_json") -> Input {
        Self.data(name, Array(value.utf8), code)
    }

    static let inputs: [Input] = [
        .init(name: "100,000 arrays", bytes: Array(repeating: UInt8(ascii: "["), count: 100_000), code: "json_too_deep"),
        .init(name: "100,000 objects", bytes: Array(String(repeating: #"{"a":"#, count: 100_000).utf8), code: "json_too_deep"),
        data(
            "100,000 levels within", String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000),
            "json_too_deep"),
        data("65 levels", String(repeating: "[", count: 64) + String(repeating: "]", count: 64), "json_too_deep"),
        data("1,001 digits", "1" + String(repeating: "0", count: 1_000)),
        data("1,001 digits after the point", "0." + String(repeating: "1", count: 1_000)),
        data("beyond a double", "1e400"), data("beyond a double, negative", "-1e400"), data("NaN", "NaN"),
        data("Infinity", "Infinity"),
        data("leading zero", "01"), data("plus", "+1"), data("no digit", "-"), data("hex", "0x10"), data("no exponent", "1e"),
        data("high surrogate", #""\ud800""#), data("low surrogate", #""\udc00""#),
        data("surrogates in the wrong order", #""\udc00\ud800""#),
        data("high surrogate and text", #""\ud800x""#), data("surrogate in a name", #"{"\ud800":1}"#),
        data("raw control byte", "\"\u{1}\""), data("raw line feed", "\"a\nb\""), data("raw NUL", "\"\0\""),
        data("raw tab", "\"\t\""),
        data("unknown escape", #""\x41""#), data("short escape", #""\u12""#), data("single quotes", "'a'"),
        data("comment", "1/*a*/"),
        data("trailing comma", "[1,]"), data("two values", "1 2"), data("no end", "[1"), data("literal with a tail", "truex"),
        data("invalid UTF-8", [0x22, 0xff, 0x22]), data("overlong UTF-8", [0x22, 0xc0, 0xaf, 0x22]),
        data("surrogate in UTF-8", [0x22, 0xed, 0xa0, 0x80, 0x22]), data("beyond Unicode", [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]),
        .init(name: "trailing garbage", bytes: Array(#"{"type":"a"}x"#.utf8)),
        .init(name: "two objects", bytes: Array(#"{"type":"a"}{"type":"a"}"#.utf8)),
        .init(name: "two byte order marks", bytes: [0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf] + Array(#"{"type":"a"}"#.utf8)),
        .init(name: "byte order mark within", bytes: Array("{\u{feff}\"type\":\"a\"}".utf8)),
        .init(name: "UTF-16", bytes: Array(#"{"type":"a"}"#.utf8).flatMap { [$0, 0] }), .init(name: "nothing", bytes: []),
        .init(name: "a blank", bytes: [0x20]),
    ]

    @Test(arguments: inputs)
    func everyRouteRejectsInvalidJSON(_ input: Input) async throws {
        let hub = try SharedHub.hub
        let routes = [
            ("POST", "/v1/flows/json/events"), ("PUT", "/v1/flows/json/state"), ("PATCH", "/v1/flows/json/state"),
            ("POST", "/v1/revocations"),
            ("POST", "/v1/locks/json"), ("PUT", "/v1/patterns/json"),
        ]
        for (method, target) in routes {
            // The body of a lock request is optional.
            if input.bytes.isEmpty, target.hasSuffix("locks/json") { continue }
            let reply = try await hub.call(method, target, bytes: input.bytes)
            #expect(reply.status == 400, "\(method) \(target): \(reply.status) \(reply.text.prefix(300))")
            #expect(reply.problemCode == input.code, "\(method) \(target): \(reply.text.prefix(300))")
        }
        let lines = try await hub.call(
            "POST", "/v1/flows/json/events", headers: [("Content-Type", "application/x-ndjson")],
            bytes: Array("{\"type\":\"a\"}\n".utf8) + input.bytes.map { $0 == 0x0a ? 0x0d : $0 } + [0x0a])
        #expect(lines.status == (input.bytes.isEmpty ? 201 : 400), "\(lines.text.prefix(300))")
    }

    /// PowerShell and other programs of Windows write one before JSON.
    @Test func oneByteOrderMarkIsPassedOver() async throws {
        let hub = try SharedHub.hub
        func send(_ method: String, _ target: String, _ text: String, _ type: String = "application/json") async throws
            -> HTTPReply
        {
            try await hub.call(method, target, headers: [("Content-Type", type)], body: "\u{feff}" + text)
        }
        #expect(try await send("PUT", "/v1/flows/bom/state", #"{"a":1}"#).status == 201)
        #expect(try await send("PATCH", "/v1/flows/bom/state", #"{"a":2}"#, "application/merge-patch+json").status == 200)
        #expect(try await send("POST", "/v1/flows/bom/events", #"[{"type":"a"},{"type":"b"}]"#).status == 201)
        #expect(
            try await send("POST", "/v1/flows/bom/events", "{\"type\":\"c\"}\n{\"type\":\"d\"}\n", "application/x-ndjson").status
                == 201)
        #expect(try await hub.api.state(of: "bom")?.state.string == #"{"a":2}"#)
        #expect(try await send("PUT", "/v1/patterns/bom", #"{"pattern":1,"confidence":1}"#).status == 201)
        #expect(try await send("POST", "/v1/revocations", #"{"subject":"bom"}"#).status == 201)
        #expect(try await send("POST", "/v1/locks/bom", #"{"ttl":30}"#).status == 201)
        #expect(try await send("POST", "/v1/locks/bom-only", "").status == 201, "nothing but a mark is no body")
        #expect(try await send("POST", "/v1/imports?format=json", #"[{"a":1}]"#).status == 201)
        let command = try await hub.command(
            ["state", "patch", "bom", "\u{feff}{\"a\":3}", "--url", "http://127.0.0.1:\(hub.port)"])
        #expect(command.exit == .code(0), "\(command)")
    }

    @Test(
        arguments: [
            "1" + String(repeating: "0", count: 300), "0." + String(repeating: "1", count: 998), "1e-400", "-0", "-0.0", "1E+2",
            "12345678901234567890",
            "0.1000", #""\u0041\u00e9""#, #"{"b":1,"a":2,"b":3}"#, #"{"":{"":[]}}"#,
            String(repeating: "[", count: 60) + String(repeating: "]", count: 60),
        ])
    func keepsValidJSONUnchanged(_ text: String) async throws {
        let hub = try SharedHub.hub
        let flow = "kept-\(text.utf8.reduce(UInt32(7)) { $0 &* 31 &+ UInt32($1) })"
        #expect(try await hub.api.publish("a", jsonText(text), to: flow).status == 201)
        #expect(try await hub.api.history(of: flow)?.events.first?.member("data")?.string == text)
        #expect(try await hub.api.put(flow, jsonText("{\"v\":\(text)}")).status == 200)
        #expect(try await hub.api.state(of: flow)?.state.string == "{\"v\":\(text)}")
    }
}
