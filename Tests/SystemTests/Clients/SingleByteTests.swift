import FlowCore
import FlowTestKit
import Testing

/// The web UI behind a proxy that passes streams on byte by byte. The matrix has the other clients.
@Suite(.serialized) struct SingleByteTests {
    @Test func pageShowsTheSameEvents() async {
        await concurrently([StreamProxy.Pieces.bytes, .bytesWithCRLF], self.pageShowsTheSameEvents(_:))
    }

    private func pageShowsTheSameEvents(_ pieces: StreamProxy.Pieces) async throws {
        try await HubProcess.running(["FLOWHUB_RETRY_MS": "100"]) { hub in
            try await StreamProxy.running(before: hub.port, pieces: pieces) { proxy in
                try await Chromium.running { browser in
                    let state = #"{"name":"Zoë 😀"}"#
                    _ = try await hub.api.put("f", jsonText(state))
                    let page = try await BrowserPage.open("http://127.0.0.1:\(proxy.port)/#flow=f", in: browser)
                    try await page.waitForState(state, version: 1)
                    for number in 2...4 {
                        _ = try await hub.api.patch("f", jsonText("{\"name\":\"é 🎉 \(number)\"}"))
                        try await page.waitForState("{\"name\":\"é 🎉 \(number)\"}", version: Version(number))
                    }
                    // The page's cursor is whole, too.
                    try await proxy.cut()
                    _ = try await hub.api.patch("f", jsonText(#"{"name":"ü"}"#))
                    try await proxy.release()
                    try await page.waitForState(#"{"name":"ü"}"#, version: 5)
                    #expect(try await page.data("resyncs") == "0")
                    #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
                }
            }
        }
    }
}
