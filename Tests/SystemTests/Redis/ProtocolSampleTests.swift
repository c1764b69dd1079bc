import FlowCore
import FlowTestKit
import Foundation
import Testing

/// The JavaScript client in PROTOCOL.md, in a browser.
@Suite(.serialized, .redis()) struct ProtocolSampleTests {
    @Test func sampleClientFollowsStateAndPassesOverForeignUpdates() async throws {
        let document = try String(contentsOfFile: Runbook.root + "/docs/PROTOCOL.md", encoding: .utf8)
        let samples = document.components(separatedBy: "```js\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        let sample = try #require(samples.first { $0.contains("mergePatch") })
        let redis = try SharedRedis.server
        try await SharedRedis.flush()
        let environment = ["REDIS_URL": redis.url, "FLOWHUB_SEED_UPDATES": "deliver", "FLOWHUB_LINGER_MS": "100"]
        try await HubProcess.running(environment) { hub in
            try await hub.waitUntilDelivering()
            _ = try await hub.api.put("import-42", try jsonText(#"{"n":1,"kept":{"a":1}}"#))
            try await Chromium.running { browser in
                let page = try await BrowserPage.open("http://127.0.0.1:\(hub.port)/", in: browser)
                try await page.wait("the page", until: "document.readyState === 'complete'")
                // RFC 7396.
                let mergePatch = """
                    function mergePatch(target, patch) {
                      if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
                      const merged = target !== null && typeof target === 'object' && !Array.isArray(target) ? { ...target } : {};
                      for (const [key, value] of Object.entries(patch)) {
                        if (value === null) delete merged[key]; else merged[key] = mergePatch(merged[key], value);
                      }
                      return merged;
                    }
                    """
                _ = try await page.value("{ \(mergePatch) globalThis.mergePatch = mergePatch; }")
                _ = try await page.value(
                    "globalThis.shown = () => 0; (() => { \(sample); globalThis.shown = () => JSON.stringify(state); globalThis.stream42 = stream; })()"
                )
                try await page.wait("the snapshot", until: #"shown() === '{"n":1,"kept":{"a":1}}'"#)
                _ = try await page.value(
                    "stream42.addEventListener('state_update', (e) => { if (JSON.parse(e.data).foreign) globalThis.sawForeign = true; })"
                )
                try await redis.command([
                    "PUBLISH", "flow:updates:import-42",
                    #"{"type":"state_update","flow_id":"import-42","updates":{"forged":1},"timestamp":"2026-01-01T00:00:00"}"#,
                ])
                try await page.wait("the foreign update", until: "globalThis.sawForeign === true")
                _ = try await hub.api.patch("import-42", try jsonText(#"{"n":2,"kept":{"b":3}}"#))
                try await page.wait("the patch", until: #"shown() === '{"n":2,"kept":{"a":1,"b":3}}'"#)
                _ = try await hub.api.put("import-42", try jsonText(#"{"status":"completed"}"#))
                try await page.wait("the end", until: #"shown() === '{"status":"completed"}' && stream42.readyState === 2"#)
            }
        }
    }
}
