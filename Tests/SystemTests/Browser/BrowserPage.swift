import FlowCore
import FlowTestKit
import Testing

/// A tab of the browser.
struct BrowserPage: Sendable {
    let browser: Chromium
    let session: String

    static func open(_ url: String, in browser: Chromium) async throws -> BrowserPage {
        let target = try await browser.send("Target.createTarget", #"{"url":"about:blank"}"#).member("targetId")?.stringValue
        let attached = try await browser.send(
            "Target.attachToTarget", "{\"targetId\":\"\(try #require(target))\",\"flatten\":true}")
        let page = BrowserPage(browser: browser, session: try #require(attached.member("sessionId")?.stringValue))
        for domain in ["Page", "Runtime", "Log", "Network"] { try await page.send("\(domain).enable") }
        // Keeps the page's event streams for tests that dispatch events at them.
        let script = """
            window.testSources = [];
            window.EventSource = class extends EventSource { constructor(...all) { super(...all); window.testSources.push(this); } };
            """
        let source = JSONText.object { writer in
            writer.key("source")
            writer.value(script)
        }
        try await page.send("Page.addScriptToEvaluateOnNewDocument", source.string)
        try await page.send("Page.navigate", "{\"url\":\"\(url)\"}")
        return page
    }

    @discardableResult
    func send(_ method: String, _ parameters: String = "{}") async throws -> JSONText {
        try await self.browser.send(method, parameters, session: self.session)
    }

    /// Evaluates a JavaScript expression, and awaits the result if it is a promise.
    func value(_ expression: String) async throws -> JSONText {
        let parameters = JSONText.object { writer in
            writer.key("expression")
            writer.value(expression)
            writer.key("returnByValue")
            writer.value(true)
            writer.key("awaitPromise")
            writer.value(true)
        }
        let answer = try await self.send("Runtime.evaluate", parameters.string)
        if let exception = answer.member("exceptionDetails") { throw Chromium.Failure(description: exception.string) }
        return answer.member("result")?.member("value") ?? .null
    }

    /// An attribute `data-…` of the body.
    func data(_ name: String) async throws -> String? {
        try await self.value("document.body?.dataset.\(name) ?? null").stringValue
    }

    func wait(_ what: String, within timeout: Duration = .seconds(30), until expression: String) async throws {
        do {
            try await eventually(what, within: timeout, every: .milliseconds(50)) {
                try await self.value(expression).boolValue == true
            }
        } catch is TimedOut {
            let body = try await self.value("JSON.stringify(document.body?.dataset ?? null)")
            throw TimedOut("\(what); page data: \(body.stringValue ?? "none"); page errors: \(self.pageErrors)")
        }
    }

    func waitForState(_ state: String, version: Version) async throws {
        let text = JSONText.array { $0.value(state) }.string.dropFirst().dropLast()
        try await self.wait(
            "the state at version \(version)",
            until:
                "document.body?.dataset.version === '\(version)' && document.getElementById('state-json')?.textContent === \(text)"
        )
    }

    /// Exceptions, errors on the console and violations of the content security policy. Network errors are excluded, since
    /// the tests provoke them.
    var pageErrors: [String] {
        let exceptions = self.browser.events("Runtime.exceptionThrown", session: self.session).map(\.string)
        let console = self.browser.events("Runtime.consoleAPICalled", session: self.session).filter {
            ["error", "assert"].contains($0.member("type")?.stringValue ?? "")
        }
        let entries = self.browser.events("Log.entryAdded", session: self.session).compactMap { $0.member("entry") }.filter {
            $0.member("level")?.stringValue == "error" && $0.member("source")?.stringValue != "network"
        }
        return exceptions + console.map(\.string) + entries.map(\.string)
    }

    /// Number of the page's requests whose URL contains this text.
    func requests(for text: String) -> Int {
        self.browser.events("Network.requestWillBeSent", session: self.session).count {
            $0.member("request")?.member("url")?.stringValue?.contains(text) == true
        }
    }
}
