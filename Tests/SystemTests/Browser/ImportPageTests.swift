import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Tests of imports in the web UI. Only the hub publishes import events, so the tests dispatch most of them in the page, at its
/// `EventSource`.
@Suite(.serialized)
struct ImportPageTests {
    private static func id(_ number: Int) -> String { "6f1c3a52-7c1e-4f0a-9d3b-0000000000\(number < 10 ? "0" : "")\(number)" }

    /// An import's row on the page.
    private static func row(_ number: Int, _ rest: String) -> String {
        "document.querySelector('#imports > li[data-import-id=\"\(self.id(number))\"]')\(rest)"
    }

    private static func note(_ number: Int) -> String { self.row(number, "?.querySelector('.note').textContent") }

    private static func data(_ number: Int, _ members: String) throws -> JSONText {
        try jsonText("{\"import_id\":\"\(self.id(number))\"\(members.isEmpty ? "" : ",")\(members)}")
    }

    private static func progress(_ number: Int, _ members: String, _ page: BrowserPage) async throws {
        try await Self.dispatch("import_progress", try Self.data(number, members), page)
    }

    /// - Parameter type: `import_stored` or `import_failed`
    private static func end(_ number: Int, _ type: String, _ members: String, _ page: BrowserPage) async throws {
        try await Self.dispatch(type, try Self.data(number, members), page)
    }

    /// Dispatches an event at the page's open event stream.
    private static func dispatch(_ type: String, _ data: JSONText, _ page: BrowserPage) async throws {
        let envelope = "{\"type\":\"\(type)\",\"flow_id\":\"flow\",\"data\":\(data.string)}"
        let text = JSONText.array { $0.value(envelope) }.string.dropFirst().dropLast()
        let script = """
            (() => {
              const open = window.testSources.filter((source) => source.readyState === EventSource.OPEN && source.url.includes('/flow/'));
              for (const source of open) source.dispatchEvent(new MessageEvent('\(type)', { data: \(text) }));
              return open.length;
            })()
            """
        #expect(try await page.value(script).intValue == 1)
    }

    private static func withPage(_ body: (HubProcess, Chromium, BrowserPage) async throws -> Void) async throws {
        try await HubProcess.running([
            "FLOWHUB_RETRY_MS": "100", "FLOWHUB_IMPORT_PROGRESS_MS": "50", "FLOWHUB_IMPORT_CLAIM_SECONDS": "4",
        ]) { hub in
            try await Chromium.running { browser in
                _ = try await hub.api.put("flow", jsonText(#"{"status":"running"}"#))
                let page = try await Self.open(hub, browser)
                try await page.waitForState(#"{"status":"running"}"#, version: 1)
                try await body(hub, browser, page)
                #expect(page.pageErrors.isEmpty, "\(page.pageErrors)")
            }
        }
    }

    private static func open(_ hub: HubProcess, _ browser: Chromium) async throws -> BrowserPage {
        try await BrowserPage.open("http://127.0.0.1:\(hub.port)/#flow=flow", in: browser)
    }

    @Test func pageShowsImportProgressAndResult() async throws {
        try await Self.withPage { _, _, page in
            #expect(try await page.value("document.getElementById('imports-card').hidden").boolValue == true)
            let name = "<img src=x onerror=alert(1)>.csv"
            try await Self.progress(
                0,
                #""file_name":"\#(name)","bytes":12300000,"total_bytes":29100000,"records":45210,"bytes_per_second":3400000,"records_per_second":12500"#,
                page)
            let text = "12 MB of 29 MB · 5 s left · 3.4 MB/s · 45,210 records · 12,500 records/s"
            try await page.wait("the bar", until: "\(Self.note(0)) === '\(text)'")
            let bar = Self.row(0, ".querySelector('[role=progressbar]')")
            #expect(try await page.value("\(bar).getAttribute('aria-valuenow')").stringValue == "42")
            #expect(try await page.value("\(bar).getAttribute('aria-valuetext')").stringValue == text)
            #expect(try await page.value("\(bar).value.toFixed(1)").stringValue == "42.3")
            #expect(try await page.value(Self.row(0, ".querySelector('.file').textContent")).stringValue == name)

            try await Self.progress(1, #""bytes":1000,"records":1,"bytes_per_second":0,"records_per_second":0"#, page)
            let unknown = "1.0 kB · 0 B/s · 1 record · 0 records/s"
            try await page.wait("the second bar", until: "\(Self.note(1)) === '\(unknown)'")
            #expect(try await page.value(Self.row(1, ".querySelector('progress:indeterminate') !== null")).boolValue == true)
            #expect(try await page.value(Self.row(1, ".querySelector('[aria-valuenow]') === null")).boolValue == true)
            let height = try await page.value("document.getElementById('imports').offsetHeight").intValue

            try await Self.end(
                0, "import_stored",
                #""file_name":"hosts.csv","total_records":64000,"size_bytes":3100000,"original_size_bytes":29100000,"content_hash":"ab""#,
                page)
            try await Self.end(
                1, "import_failed", #""file_name":"b.json","code":"bad_json","reason":"Line 2, column 3: not JSON.""#, page)
            let failed = "failed: Line 2, column 3: not JSON. (bad_json)"
            try await page.wait("the failure", until: "\(Self.note(1)) === '\(failed)'")
            #expect(try await page.value(Self.note(0)).stringValue == "stored: 64,000 records, 29 MB compressed to 3.1 MB")
            #expect(try await page.value(Self.row(0, ".dataset.kind")).stringValue == "completed")
            let link = try await page.value(Self.row(0, ".querySelector('a:not([hidden])').getAttribute('href')"))
            #expect(link.stringValue == "v1/imports/\(Self.id(0))/download")
            #expect(try await page.value(Self.row(1, ".querySelector('a').hidden")).boolValue == true)
            #expect(try await page.value("document.getElementById('imports').offsetHeight").intValue == height)
            #expect(try await page.value("document.querySelectorAll('#imports img').length").intValue == 0)

            // Late progress does not change a stored import. A failed import may be retried.
            try await Self.progress(0, #""bytes":1,"total_bytes":2"#, page)
            try await Self.progress(1, #""bytes":1,"total_bytes":2"#, page)
            try await page.wait("the second attempt", until: Self.row(1, "?.dataset.kind === 'running'"))
            #expect(try await page.value(Self.row(0, ".dataset.kind")).stringValue == "completed")
        }
    }

    @Test func downloadSavesRecordsWithTokenInHeaderOnly() async throws {
        try await Self.withPage { hub, browser, page in
            let folder = try TemporaryFolder()
            defer { folder.remove() }
            try await browser.send(
                "Browser.setDownloadBehavior", "{\"behavior\":\"allow\",\"downloadPath\":\"\(folder.path)\"}")
            let text = #"[{"a":"é"},2]"#
            let entry = try await hub.store(TestUpload(text, "flow_id=flow&file_name=my%20hosts.csv.json"))
            let link = "document.querySelector('#imports > li[data-import-id=\"\(entry.id)\"] a:not([hidden])')"
            try await page.wait("the link", until: "\(link) !== null")
            _ = try await page.value("sessionStorage.setItem('flowhub.token', 'secret')")
            _ = try await page.value("\(link).click()")
            let expected = try await hub.get(entry.id, "/data").body
            try await eventually("the file") {
                FileManager.default.contents(atPath: folder.path + "/my hosts.json").map { Array($0) } == expected
            }
            try await page.wait("the link's text", until: "\(link).textContent === 'Download'")
            #expect(page.requests(for: "v1/imports/\(entry.id)/data") == 1)
            #expect(page.requests(for: "secret") == 0)
            // A failure is shown at the link.
            #expect(try await hub.api.call("DELETE", "/v1/imports/\(entry.id)").status == 204)
            _ = try await page.value("\(link).click()")
            try await page.wait("the failure", until: "\(link).textContent === 'Download failed' && \(link).title !== ''")
        }
    }

    @Test func newAndReconnectedPagesShowCurrentImports() async throws {
        try await Self.withPage { hub, browser, page in
            #expect(try await hub.send(TestUpload("{\"a\":1}\n", "flow_id=flow")).status == 201)
            #expect(try await hub.send(TestUpload("a,b\n1,\"2\n", "flow_id=flow&format=csv")).status == 400)
            let exchange = try await RawExchange.open(port: hub.port)
            defer { exchange.close() }
            try await exchange.send(TestUpload(Array(repeating: 0x31, count: 1_000_000), "flow_id=flow&format=ndjson").head)
            let kinds = "[...document.querySelectorAll('#imports > li')].map((li) => li.dataset.kind).sort().join()"
            try await eventually("the progress of the third import", every: .milliseconds(20)) {
                try await exchange.send("{\"a\":1}\n")
                return try await page.value(kinds).stringValue == "completed,failed,running"
            }
            let later = try await Self.open(hub, browser)
            for openPage in [page, later] {
                try await openPage.wait("the imports", until: "\(kinds) === 'completed,failed,running'")
            }
            try await hub.kill()
            try await page.wait("the lost connection to be shown", until: "document.body?.dataset.connection !== 'live'")
            try await hub.start()
            for openPage in [page, later] {
                try await openPage.wait("the end of the interrupted import", until: "\(kinds) === 'completed,failed,failed'")
                #expect(openPage.pageErrors.isEmpty, "\(openPage.pageErrors)")
            }
        }
    }

    @Test func ignoresInvalidImportEventsAndShowsLatest20() async throws {
        try await Self.withPage { _, _, page in
            for text in ["null", "7", "{}", #"{"import_id":"../x"}"#, #"{"import_id":{"a":1},"bytes":1}"#] {
                try await Self.dispatch("import_stored", jsonText(text), page)
            }
            try await Self.progress(99, #""bytes":"12","total_bytes":[],"records":null,"file_name":{}"#, page)
            try await page.wait("the import without details", until: "\(Self.note(99)) === ''")
            for number in 0..<25 { try await Self.end(number, "import_stored", "\"file_name\":\"\(number)\"", page) }
            let files = "[...document.querySelectorAll('#imports .file')].map((file) => file.textContent).join()"
            let expected = (5..<25).reversed().map { "\($0)" }.joined(separator: ",")
            try await page.wait("the last imports", until: "\(files) === '\(expected)'")
        }
    }
}
