import FlowCore
import FlowTestKit
import Foundation

/// Chromium's `EventSource`, in a tab for each stream.
final class ChromiumReader: StreamReader {
    /// An `EventSource` hears only the types that it names.
    private static let types = ["snapshot", "caught_up", "resync", "closing", "heartbeat", "state_update", "note", "noise"]

    private let browser: Chromium
    private let tasks = AsyncValue<[Task<Void, Never>]>([])

    init(_ browser: Chromium) { self.browser = browser }

    var errors: String { "" }

    func read(_ name: String, _ url: String) async throws -> Reading {
        let origin = url.split(separator: "/", maxSplits: 2).prefix(2).joined(separator: "//")
        let page = try await BrowserPage.open("\(origin)/health/live", in: self.browser)
        try await page.wait(
            "the page of the reader", until: "location.origin === '\(origin)' && document.readyState === 'complete'")
        _ = try await page.value(try Repository.text("Tests/SystemTests/Clients/readers/eventsource.js") + "; 0")
        _ = try await page.value("reader.open('\(name)', '\(url)', \(Self.types.description)); 0")
        let reading = Reading()
        let task = Task {
            do {
                while !Task.isCancelled {
                    let text = try await page.value("reader.next('\(name)')").stringValue ?? "[]"
                    for event in try JSONDecoder().decode([Event].self, from: Data(text.utf8)) {
                        reading.append(ReaderEvent(type: event.type, id: event.id, data: event.data, at: event.at))
                    }
                }
            } catch {
                reading.fail("\(error)")
            }
        }
        self.tasks.change { $0.append(task) }
        return reading
    }

    /// The browser is ended by the scope that started it.
    func end() async { for task in self.tasks.value { task.cancel() } }

    private struct Event: Decodable {
        let type: String
        let id: String?
        let data: String
        let at: Double
    }
}
