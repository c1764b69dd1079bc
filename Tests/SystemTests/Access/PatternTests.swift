import FlowCore
import FlowTestKit
import Testing

/// Mapping patterns over HTTP.
struct PatternTests {
    private static func body(_ pattern: String, _ confidence: String = "0.9") -> String {
        "{\"pattern\":\(pattern),\"confidence\":\(confidence)}"
    }

    @Test func storesReplacesAndDeletesPatternPerAccount() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            func call(_ method: String, _ body: String? = nil, account: String = "7", scopes: [String] = ["patterns"])
                async throws
                -> HTTPReply
            {
                try await hub.call(
                    method, "/v1/patterns/csv:contacts", headers: [TestToken(account: account, scopes: scopes).header], body: body
                )
            }
            #expect(try await call("GET").status == 404)
            #expect(try await call("DELETE").status == 404)
            let written = Self.body(#"{"b":"E\u002dMail","a":[1.50,1e3]}"#, "0.90")
            let created = try await call("PUT", " " + written)
            #expect(created.status == 201 && created.text == written)
            let read = try await call("GET")
            #expect(read.status == 200 && read.text == written && read.header("content-type") == "application/json")
            #expect(try await call("PUT", Self.body("null", "1")).status == 200)
            #expect(try await call("GET").text == Self.body("null", "1"))

            #expect(try await call("GET", account: "8").problemCode == "not_found")
            #expect(try await call("DELETE", account: "8").problemCode == "not_found")
            // Each account has its own keys.
            #expect(try await call("PUT", Self.body("8"), account: "8").status == 201)
            for (method, body) in [("GET", nil), ("PUT", written), ("DELETE", nil)] {
                let refused = try await call(method, body, scopes: ["locks", "imports", "admin"])
                #expect(refused.status == 403 && refused.problemCode == "forbidden", "\(method)")
            }
            #expect(try await call("GET").text == Self.body("null", "1"), "another account changed it")

            let gone = try await call("DELETE")
            #expect(gone.status == 204 && gone.body.isEmpty)
            #expect(try await call("GET").status == 404)
            #expect(try await call("GET", account: "8").text == Self.body("8"))
        }
    }

    @Test func limitsPatternsOfAccountAndOfAll() async throws {
        let limits = [
            "FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_PATTERNS": "3", "FLOWHUB_MAX_KEPT_PATTERNS": "4",
        ]
        try await HubProcess.running(limits) { hub in
            func call(_ method: String, _ key: String, _ account: String) async throws -> HTTPReply {
                let token = TestToken(account: account, scopes: ["patterns"])
                let body = method == "PUT" ? Self.body("\"\(account)\"") : nil
                return try await hub.call(method, "/v1/patterns/\(key)", headers: [token.header], body: body)
            }
            #expect(try await call("PUT", "a", "8").status == 201)
            for number in 0..<5 { #expect(try await call("PUT", "\(number)", "7").status == 201) }
            #expect(try await hub.api.metric("flowhub_pattern_evictions_total") == 2)
            #expect(try await call("GET", "a", "8").status == 200, "another account evicted it")
            let full = try await call("PUT", "a", "9")
            #expect(full.status == 503 && full.problemCode == "too_many_patterns" && full.header("retry-after") != nil)
            #expect(full.text.contains("FLOWHUB_MAX_KEPT_PATTERNS"))
            #expect(try await hub.api.metric("flowhub_limit_rejections_total{limit=\"patterns\"}") == 1)
            #expect(try await call("DELETE", "4", "7").status == 204)
            #expect(try await call("PUT", "a", "9").status == 201)
        }
    }

    @Test func rejectsPatternBelowConfidenceThreshold() async throws {
        try await HubProcess.running(["FLOWHUB_PATTERN_CONFIDENCE": "0.5", "FLOWHUB_PATTERN_SECONDS": "1"]) { hub in
            func put(_ confidence: String) async throws -> HTTPReply {
                try await hub.call("PUT", "/v1/patterns/p", body: Self.body("1", confidence))
            }
            for low in ["0", "0.4999", "-0", "5e-2"] {
                let reply = try await put(low)
                #expect(reply.status == 422 && reply.problemCode == "low_confidence", "\(low): \(reply.text)")
                #expect(try await hub.call("GET", "/v1/patterns/p").status == 404)
            }
            #expect(try await put("0.5").status == 201)
            #expect(try await put("0.4").problemCode == "low_confidence")
            try await eventually("the mapping pattern to expire") { try await hub.call("GET", "/v1/patterns/p").status == 404 }
        }
    }

    @Test("the default confidence threshold is 0.8")
    func usesDefaultConfidenceThreshold() async throws {
        try await HubProcess.running { hub in
            let low = try await hub.call("PUT", "/v1/patterns/p", body: Self.body("1", "0.79"))
            #expect(low.problemCode == "low_confidence")
            let enough = try await hub.call("PUT", "/v1/patterns/p", body: Self.body("1", "0.8"))
            #expect(enough.status == 201)
        }
    }
}

/// Mapping patterns that are invalid or over the limits.
@Suite(.hub(["FLOWHUB_MAX_PATTERN_BYTES": "1024", "FLOWHUB_MAX_JSON_DEPTH": "4"]))
struct PatternInputTests {
    @Test(
        arguments: [
            ("", 400, "bad_json"), ("{", 400, "bad_json"), (#"{"pattern":1,"confidence":0.9"#, 400, "bad_json"),
            (#"{"pattern":[[[[1]]]],"confidence":1}"#, 400, "json_too_deep"), ("[]", 422, "bad_pattern"),
            ("1", 422, "bad_pattern"),
            ("{}", 422, "bad_pattern"), (#"{"pattern":{}}"#, 422, "bad_pattern"), (#"{"confidence":1}"#, 422, "bad_pattern"),
            (#"{"pattern":1,"confidence":"1"}"#, 422, "bad_pattern"), (#"{"pattern":1,"confidence":null}"#, 422, "bad_pattern"),
            (#"{"pattern":1,"confidence":1.0000001}"#, 422, "bad_pattern"),
            (#"{"pattern":1,"confidence":-0.1}"#, 422, "bad_pattern"),
            (#"{"pattern":1,"confidence":1e300}"#, 422, "bad_pattern"), (#"{"pattern":1,"confidence":1e400}"#, 400, "bad_json"),
            (#"{"pattern":1,"confidence":1,"ttl":5}"#, 422, "unknown_member"),
        ])
    func rejectsInvalidPattern(_ body: String, _ status: Int, _ code: String) async throws {
        let hub = try SharedHub.hub
        let reply = try await hub.call("PUT", "/v1/patterns/bad", body: body)
        #expect(reply.status == status && reply.problemCode == code, "\(reply.text)")
        #expect(try await hub.call("GET", "/v1/patterns/bad").status == 404)
    }

    @Test func enforcesPatternSizeLimit() async throws {
        let hub = try SharedHub.hub
        for (count, status) in [(1_024, 201), (1_025, 413)] {
            let text = "\"" + String(repeating: "a", count: count - 2) + "\""
            let reply = try await hub.call("PUT", "/v1/patterns/p\(count)", body: "{\"pattern\":\(text),\"confidence\":1}")
            #expect(reply.status == status)
            if status == 413 {
                #expect(reply.problemCode == "pattern_too_large" && reply.text.contains("FLOWHUB_MAX_PATTERN_BYTES"))
            }
            #expect(try await hub.call("GET", "/v1/patterns/p\(count)").status == (status == 201 ? 200 : 404))
        }
    }
}
