import FlowCore
import FlowTestKit
import Testing

/// Tests of the web UI, and of a browser's own EventSource.
@Suite(.serialized)
struct BrowserTests {
    private static let environment = ["FLOWHUB_RETRY_MS": "100", "FLOWHUB_LINGER_MS": "100"]

    private static func url(_ hub: HubProcess, _ rest: String = "") -> String { "http://127.0.0.1:\(hub.port)/\(rest)" }

    @Test func pageShowsChangesOfListAndFlow() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("first", jsonText(#"{"status":"running","rows":1}"#))
                let list = try await BrowserPage.open(Self.url(hub), in: browser)
                try await list.wait(
                    "the list", until: "document.querySelectorAll('#flows > li[data-flow-id=first]').length === 1")
                _ = try await hub.api.put("second", .emptyObject)
                try await list.wait(
                    "the new flow in the list",
                    until: "document.querySelectorAll('#flows > li[data-flow-id=second]').length === 1")

                let page = try await BrowserPage.open(Self.url(hub, "#flow=first"), in: browser)
                try await page.waitForState(#"{"status":"running","rows":1}"#, version: 1)
                _ = try await hub.api.patch(
                    "first", jsonText(#"{"rows":12345678901234567890,"html":"<img src=x onerror=alert(1)>"}"#))
                try await page.waitForState(
                    #"{"status":"running","rows":12345678901234567890,"html":"<img src=x onerror=alert(1)>"}"#, version: 2)
                _ = try await hub.api.put("first", jsonText(#"{"__proto__":{"x":1}}"#))
                try await page.waitForState(#"{"__proto__":{"x":1}}"#, version: 3)
                _ = try await hub.api.publish("note", jsonText(#""<script>alert(1)</script>\u2028""#), to: "first")
                try await page.wait("the event", until: "document.querySelector('#events > li')?.dataset.type === 'note'")
                #expect(try await page.value("document.querySelectorAll('#events img, #events script').length").intValue == 0)
                #expect(page.pageErrors.isEmpty && list.pageErrors.isEmpty, "\(page.pageErrors + list.pageErrors)")
            }
        }
    }

    @Test func pageShowsProgressInEveryKnownFormat() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("flow", jsonText(#"{"status":"running"}"#))
                let page = try await BrowserPage.open(Self.url(hub, "#flow=flow"), in: browser)
                try await page.waitForState(#"{"status":"running"}"#, version: 1)
                let ticks = [
                    (#"{"progress":40}"#, "40"), (#"{"percent":41}"#, "41"), (#"{"done":42}"#, "42"),
                    (#"{"done":3,"total":4}"#, "75"), (#"{"processed":1,"total":8}"#, "12.5"), ("77", "77"),
                    (#"{"progress":{"done":1,"total":2}}"#, "50"), (#"{"percent":140}"#, "100"), (#"{"percent":0}"#, "0"),
                ]
                for (data, percent) in ticks {
                    #expect(try await hub.api.publish("progress", jsonText(data), to: "flow", durable: false).status == 202)
                    try await page.wait(data, until: "document.body?.dataset.progress === '\(percent)'")
                }
                // Data without a known format of progress does not change the progress.
                for data in [#"{"done":true}"#, #"{"done":1,"total":0}"#, #"{"rows":5}"#] {
                    let value = try await page.value("progressIn(\(data), {})")
                    #expect(value.isNull, "\(data)")
                }
                #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
            }
        }
    }

    @Test func hiddenTabContinuesToRender() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("flow", jsonText(#"{"n":0}"#))
                let page = try await BrowserPage.open(Self.url(hub, "#flow=flow"), in: browser)
                try await page.waitForState(#"{"n":0}"#, version: 1)
                // An animation frame that is requested and never runs, as in a tab that has become hidden.
                _ = try await page.value(
                    "window.asked = 0; window.requestAnimationFrame = () => { window.asked += 1; return 1; }; 0")
                _ = try await hub.api.patch("flow", jsonText(#"{"n":1}"#))
                try await page.wait("the request for an animation frame", until: "window.asked > 0")
                let hide = "Object.defineProperty(document, 'hidden', { get: () => true }); "
                _ = try await page.value(hide + "document.dispatchEvent(new Event('visibilitychange')); 0")
                try await page.waitForState(#"{"n":1}"#, version: 2)
                #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
            }
        }
    }

    @Test func pageRecoversFromHubKilledAtAnyPoint() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("flow", jsonText(#"{"n":0}"#))
                let page = try await BrowserPage.open(Self.url(hub, "#flow=flow"), in: browser)
                try await page.waitForState(#"{"n":0}"#, version: 1)

                // Kill the hub while the stream is idle.
                try await hub.kill()
                try await page.wait("the lost connection to be shown", until: "document.body?.dataset.connection !== 'live'")
                try await hub.start()
                _ = try await hub.api.patch("flow", jsonText(#"{"n":1}"#))
                try await page.waitForState(#"{"n":1}"#, version: 2)

                // Kill the hub within an event: right after the acknowledgment, while about 500 kB of the event are in flight.
                let large = String(repeating: "a", count: 500_000)
                for number in 2...4 {
                    #expect(
                        try await hub.api.patch("flow", jsonText("{\"n\":\(number),\"large\":\"\(large)\(number)\"}")).status
                            == 200)
                    try await hub.kill()
                    try await hub.start()
                }
                try await page.waitForState("{\"n\":4,\"large\":\"\(large)4\"}", version: 5)

                // Kill the hub at several points of a snapshot of about 1 MB.
                let huge = String(repeating: "b", count: 1_000_000)
                #expect(try await hub.api.put("flow", jsonText("{\"n\":5,\"large\":\"\(huge)\"}")).status == 200)
                for delay in [0, 5, 20, 60] {
                    let before = page.requests(for: "/v1/flows/flow/events")
                    try await page.send("Page.reload")
                    try await eventually("the page to reconnect", every: .milliseconds(1)) {
                        page.requests(for: "/v1/flows/flow/events") > before
                    }
                    // The delay selects the point of the snapshot; it does not wait for anything.
                    try await Task.sleep(for: .milliseconds(delay))
                    try await hub.kill()
                    try await hub.start()
                }
                try await page.waitForState("{\"n\":5,\"large\":\"\(huge)\"}", version: 6)
                _ = try await hub.api.patch("flow", jsonText(#"{"large":null}"#))
                try await page.waitForState(#"{"n":5}"#, version: 7)
                #expect(try #require(try await page.data("connection")) == "live")
                #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
            }
        }
    }

    @Test func finishedFlowStopsEventSourceReconnects() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("done", jsonText(#"{"status":"running"}"#))
                let page = try await BrowserPage.open(Self.url(hub, "#flow=done"), in: browser)
                try await page.waitForState(#"{"status":"running"}"#, version: 1)
                _ = try await hub.api.patch("done", jsonText(#"{"status":"completed"}"#))
                try await page.wait("the end", until: "document.body?.dataset.connection === 'finished'")
                #expect(try await page.data("closing") == "finished")
                try await eventually("the stream to be closed") { try await hub.api.metric("flowhub_connections") == 0 }
                let before = page.requests(for: "/v1/flows/done/events")

                // An EventSource that is not closed reconnects with its cursor, gets 204 and stops. By then an EventSource that
                // still ran in the page would have reconnected, too, since `retry:` is at most 150 ms.
                let plain =
                    "new Promise((done) => { const s = new EventSource('/v1/flows/done/events'); s.onerror = () => { if (s.readyState === 2) done(s.readyState); }; })"
                #expect(try await page.value(plain).intValue == 2)
                #expect(page.requests(for: "/v1/flows/done/events") <= before + 2)
                #expect(try await page.data("connection") == "finished")
                #expect(try await hub.api.metric("flowhub_connections") == 0)
                #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
            }
        }
    }

    @Test func plainEventSourceResumesWithoutLoss() async throws {
        try await HubProcess.running(Self.environment) { hub in
            try await Chromium.running { browser in
                let page = try await BrowserPage.open(Self.url(hub), in: browser)
                try await page.wait("the page", until: "document.readyState === 'complete' && location.protocol === 'http:'")
                let script = """
                    window.seen = []; window.snapshots = 0; window.resyncs = 0;
                    window.source = new EventSource('/v1/flows/plain/events');
                    source.addEventListener('row', (e) => seen.push(JSON.parse(e.data).version));
                    source.addEventListener('snapshot', () => snapshots++);
                    source.addEventListener('resync', () => resyncs++); 0
                    """
                _ = try await page.value(script)
                try await page.wait("the snapshot", until: "snapshots === 1")
                for version in 1...12 {
                    #expect(try await hub.api.publish("row", .null, to: "plain").status == 201)
                    if version.isMultiple(of: 4) {
                        try await hub.kill()
                        try await hub.start()
                    }
                }
                try await page.wait("all rows", until: "seen.length >= 12")
                #expect(try await page.value("seen.join()").stringValue == (1...12).map { "\($0)" }.joined(separator: ","))
                #expect(try await page.value("snapshots").intValue == 1)
                #expect(try await page.value("resyncs").intValue == 0)
                #expect(page.requests(for: "/v1/flows/plain/events") >= 2)
            }
        }
    }
}
