import FlowCore
import FlowTestKit
import Testing

/// What web pages of other origins can do to a hub without keys on the same machine, tried in a real browser.
struct KeylessBrowserTests {
    /// Runs a hub without keys that has the flow `mine`, and a second HTTP server. Pages of the second server are pages of another
    /// origin. The server is a hub with keys, which answers every `Host`.
    private static func running(
        _ environment: (_ sitePort: Int) -> [String: String] = { _ in [:] },
        _ body: (_ hub: HubProcess, _ sitePort: Int) async throws -> Void
    ) async throws {
        try await HubProcess.running(["FLOWHUB_JWT_KEY": TestToken.key]) { site in
            try await HubProcess.running(environment(site.port)) { hub in
                #expect(try await hub.api.put("mine", jsonText(#"{"n":1}"#)).status == 201)
                try await body(hub, site.port)
            }
        }
    }

    /// The statuses that a page gets for requests to the hub, as JSON; 0: the browser does not let the page read the response.
    private static func statuses(of page: BrowserPage, base: String) async throws -> [Int64] {
        let script = """
            Promise.all([
              ['GET', '/v1/flows'], ['GET', '/v1/flows/mine/state'], ['GET', '/metrics'],
              ['POST', '/v1/flows/mine/events', '{"type":"forged","data":1}'], ['PUT', '/v1/flows/mine/state', '{"n":2}'],
              ['PATCH', '/v1/flows/mine/state', '{"n":2}'], ['DELETE', '/v1/flows/mine/state'],
              ['POST', '/v1/locks/forged', '{}'], ['POST', '/v1/revocations', '{"subject":"x"}'],
              ['POST', '/v1/imports?flow_id=mine', 'a,b\\n1,2\\n'],
            ].map(([method, path, body]) => fetch('\(base)' + path, { method, body }).then((r) => r.status, () => 0)))
            """
        let values = try await page.value(script)
        return values.elements.map { $0.intValue ?? -1 }
    }

    /// Whether an `EventSource` of the page gets an event of the flow within its first connection attempt.
    private static func hearsFlow(_ page: BrowserPage, base: String) async throws -> Bool? {
        let script = """
            new Promise((done) => {
              const source = new EventSource('\(base)/v1/flows/mine/events');
              source.addEventListener('snapshot', () => { source.close(); done(true); });
              source.onerror = () => { source.close(); done(false); };
            })
            """
        return try await page.value(script).boolValue
    }

    /// Checks that the hub has only the flow `mine`, unchanged.
    private static func expectUntouched(_ hub: HubProcess) async throws {
        let flows = try await hub.call("GET", "/v1/flows").json.member("flows")?.elements ?? []
        #expect(flows.compactMap { $0.member("flow_id")?.stringValue } == ["mine"])
        let state = try await hub.call("GET", "/v1/flows/mine/state")
        #expect(state.json.member("version")?.intValue == 1 && state.json.member("state")?.string == #"{"n":1}"#, "\(state.text)")
        #expect(try await hub.call("GET", "/v1/imports").json.member("imports")?.elements.isEmpty == true)
    }

    @Test func pageOfAnotherOriginCannotTouchHub() async throws {
        try await Self.running { hub, sitePort in
            try await Chromium.running(loopbackNames: ["evil.example"]) { browser in
                let base = "http://127.0.0.1:\(hub.port)"
                let page = try await BrowserPage.open("http://evil.example:\(sitePort)/health/live", in: browser)
                try await page.wait(
                    "the page", until: "location.host === 'evil.example:\(sitePort)' && document.readyState === 'complete'")
                #expect(try await Self.statuses(of: page, base: base) == Array(repeating: 0, count: 10))
                #expect(try await Self.hearsFlow(page, base: base) == false)

                // Requests that a browser sends without a preflight: "simple" requests, whose responses the page cannot read, and
                // forms.
                let before = try await hub.api.metric("flowhub_http_request_seconds_count{route=\"refused\",status=\"403\"}") ?? 0
                let simple = """
                    Promise.all([
                      fetch('\(base)/v1/flows/mine/events', { method: 'POST', mode: 'no-cors', body: '{"type":"forged"}' }),
                      fetch('\(base)/v1/flows/new/events', { method: 'POST', mode: 'no-cors', body: '{"type":"forged"}' }),
                      fetch('\(base)/v1/imports?flow_id=mine', { method: 'POST', mode: 'no-cors', body: 'a,b\\n1,2\\n' }),
                      fetch('\(base)/v1/flows', { mode: 'no-cors' }),
                    ]).then((all) => all.every((r) => r.type === 'opaque'))
                    """
                #expect(try await page.value(simple).boolValue == true)
                let form = """
                    document.body.innerHTML = '<form method=post enctype=text/plain action="\(base)/v1/flows/mine/events">'
                      + '<input name=\\'{"type":"forged","data":"\\' value=\\'"}\\'></form>';
                    document.forms[0].submit(); 0
                    """
                _ = try await page.value(form)
                try await eventually("the form and the simple requests to be refused") {
                    try await hub.api.metric("flowhub_http_request_seconds_count{route=\"refused\",status=\"403\"}") ?? 0
                        >= before + 5
                }
                try await Self.expectUntouched(hub)
            }
        }
    }

    @Test func pageThatRebindsItsNameCannotTouchHub() async throws {
        try await Self.running { hub, _ in
            try await Chromium.running(loopbackNames: ["rebind.evil.example"]) { browser in
                let base = "http://rebind.evil.example:\(hub.port)"
                let page = try await BrowserPage.open(base + "/health/live", in: browser)
                try await page.wait(
                    "the page", until: "location.host === 'rebind.evil.example:\(hub.port)' && document.readyState === 'complete'"
                )
                #expect(try await Self.statuses(of: page, base: base) == Array(repeating: 421, count: 10))
                #expect(try await Self.hearsFlow(page, base: base) == false)
                try await Self.expectUntouched(hub)
            }
        }
    }

    @Test func listedFrontEndOnAnotherPortWorks() async throws {
        try await Self.running {
            ["FLOWHUB_CORS_ORIGINS": "http://localhost:\($0)"]
        } _: { hub, sitePort in
            try await Chromium.running { browser in
                let base = "http://127.0.0.1:\(hub.port)"
                let page = try await BrowserPage.open("http://localhost:\(sitePort)/health/live", in: browser)
                try await page.wait(
                    "the page", until: "location.host === 'localhost:\(sitePort)' && document.readyState === 'complete'")
                #expect(try await Self.hearsFlow(page, base: base) == true)
                let patch = """
                    fetch('\(base)/v1/flows/mine/state', { method: 'PATCH', body: '{"n":2}',
                      headers: { 'Content-Type': 'application/merge-patch+json', 'If-Match': '*' } }).then((r) => r.status, () => 0)
                    """
                #expect(try await page.value(patch).intValue == 200)
                #expect(try await hub.call("GET", "/v1/flows/mine/state").json.member("version")?.intValue == 2)
            }
        }
    }
}
