import FlowCore
import FlowTestKit
import Testing

/// Locks over HTTP, and the fencing tokens that make them safe.
struct LockTests {
    @Test func onlyHolderRenewsAndReleasesLock() async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { hub in
            func call(_ method: String, _ target: String, _ body: String? = nil, account: String = "7") async throws -> HTTPReply
            {
                try await hub.call(
                    method, "/v1/locks/" + target, headers: [TestToken(account: account, scopes: ["locks"]).header], body: body)
            }
            let acquired = try await call("POST", "r", #"{"ttl":30}"#)
            #expect(acquired.status == 201)
            let id = try #require(acquired.json.member("lock_id")?.stringValue)
            let token = try #require(acquired.json.member("fencing_token")?.intValue)
            #expect(
                acquired.json.member("resource")?.stringValue == "r"
                    && acquired.json.member("expires_at")?.stringValue?.hasSuffix("Z") == true)
            let held = try await call("POST", "r")
            #expect(held.status == 409 && held.problemCode == "lock_held")
            // Each account has its own resources, and learns nothing of another account's lock.
            #expect(try await call("DELETE", "r?lock_id=\(id)", account: "8").status == 404)
            #expect(try await call("PUT", "r?lock_id=\(id)", "{}", account: "8").status == 404)
            #expect(try await call("POST", "r", account: "8").status == 201)
            #expect(try await call("DELETE", "r?lock_id=\(id)", account: "8").problemCode == "lock_not_yours")
            let renewed = try await call("PUT", "r", "{\"lock_id\":\"\(id)\",\"ttl\":60}")
            #expect(renewed.status == 200 && renewed.json.member("fencing_token")?.intValue == token)
            let stranger = try await call("PUT", "r?lock_id=stranger", "{}")
            #expect(stranger.status == 409 && stranger.problemCode == "lock_not_yours")
            #expect(try await call("DELETE", "r?lock_id=stranger").status == 409)
            #expect(try await call("PUT", "r", "{}").problemCode == "lock_id_missing")
            for ttl in ["0", "3601", "1.5", "\"1\"", "null"] {
                #expect(try await call("POST", "q", "{\"ttl\":\(ttl)}").problemCode == "bad_ttl")
            }
            #expect(try await call("DELETE", "r?lock_id=\(id)").status == 204)
            #expect(try await call("DELETE", "r?lock_id=\(id)").status == 404)
            #expect(try await call("PUT", "r?lock_id=\(id)", "{}").status == 404)
            let next = try await call("POST", "r", #"{"ttl":1}"#)
            #expect(next.status == 201 && (next.json.member("fencing_token")?.intValue ?? 0) > token)
            try await eventually("the lock to expire") { try await call("POST", "r").status == 201 }
        }
    }

    @Test func limitsLocksOfAccountAndOfAll() async throws {
        let limits = ["FLOWHUB_JWT_KEY": TestToken.key, "FLOWHUB_MAX_ACCOUNT_LOCKS": "3", "FLOWHUB_MAX_LOCKS": "4"]
        try await HubProcess.running(limits) { hub in
            func acquire(_ resource: String, _ account: String) async throws -> HTTPReply {
                let token = TestToken(account: account, scopes: ["locks"])
                return try await hub.call("POST", "/v1/locks/\(resource)", headers: [token.header])
            }
            for number in 0..<3 { #expect(try await acquire("r\(number)", "7").status == 201) }
            let full = try await acquire("r3", "7")
            #expect(full.status == 429 && full.problemCode == "too_many_account_locks" && full.header("retry-after") == "1")
            #expect(full.text.contains("FLOWHUB_MAX_ACCOUNT_LOCKS"))
            #expect(try await acquire("r0", "8").status == 201)
            let over = try await acquire("r1", "8")
            #expect(over.status == 503 && over.problemCode == "too_many_locks" && over.text.contains("FLOWHUB_MAX_LOCKS"))
            #expect(try await hub.api.metric("flowhub_limit_rejections_total{limit=\"account_locks\"}") == 1)
            #expect(try await hub.api.metric("flowhub_limit_rejections_total{limit=\"locks\"}") == 1)
        }
    }

    @Test func rejectsStaleFencingTokenAcrossKill() async throws {
        try await HubProcess.running { hub in
            func token() async throws -> Int64 {
                let reply = try await hub.call("POST", "/v1/locks/import", body: #"{"ttl":1}"#)
                guard reply.status == 201 else { return 0 }
                return try #require(reply.json.member("fencing_token")?.intValue)
            }
            func write(_ token: Int64, _ method: String = "PATCH", resource: String = "import") async throws -> HTTPReply {
                let headers = [("Fencing-Token", "\(resource)=\(token)")]
                return try await hub.call(method, "/v1/flows/fenced/state", headers: headers, body: "{\"by\":\(token)}")
            }
            let first = try await token()
            #expect(try await write(first).status == 201)
            try await hub.kill()
            try await hub.start()
            var second: Int64 = 0
            try await eventually("the lock after the restart") {
                second = try await token()
                return second > 0
            }
            #expect(second > first)
            #expect(try await write(first).status == 200, "no newer holder has written yet")
            #expect(try await write(second).status == 200)
            for method in ["PATCH", "PUT"] {
                let stale = try await write(first, method)
                #expect(stale.status == 409 && stale.problemCode == "stale_fencing_token")
            }
            #expect(try await hub.api.state(of: "fenced")?.state.string == "{\"by\":\(second)}")
            #expect(try await write(first, resource: "another").status == 200, "each resource has separate tokens")
            for bad in ["import", "import=", "=1", "import=x", "import=-1", "a b=1", "import=99999999999999999999"] {
                let reply = try await hub.call("PATCH", "/v1/flows/fenced/state", headers: [("Fencing-Token", bad)], body: "{}")
                #expect(reply.status == 400 && reply.problemCode == "bad_fencing_token", "\(bad): \(reply.text)")
            }
        }
    }
}
