import FlowCore
import Foundation

/// Formats events for standard output: as JSON with one object per line, or as readable rows.
struct EventPrinter {
    let json: Bool
    let palette: Palette
    /// Whether rows have a column with the flow id, because several flows are shown.
    let namesFlow: Bool
    /// Columns of the terminal; `nil`: rows are not truncated, and a row with a progress bar does not overwrite the row before.
    let width: Int?

    /// The delivery status in the most recent heartbeat.
    private var delivery = "ok"
    /// Flow and event type of the progress bar in the most recent row; `nil` if that row has no progress bar.
    private var progressOf: String?

    init(json: Bool, palette: Palette, namesFlow: Bool, width: Int?) {
        self.json = json
        self.palette = palette
        self.namesFlow = namesFlow
        self.width = width
    }

    /// Formats an event.
    /// - Parameter now: the time to show if the event carries none.
    /// - Returns: what to write to standard output; with rows, empty for a heartbeat that reports no change of the delivery
    ///   status.
    mutating func text(of event: ServerEvent, now: Timestamp) -> String {
        let data = try? JSONText(validating: event.data.utf8)
        if self.json { return Self.line(event, data) + "\n" }
        guard let data, data.isObject else {
            return self.row(time: now.description, flow: nil, label: "", type: event.type, text: Terminal.sanitized(event.data))
        }
        let time = data.member("timestamp")?.stringValue ?? data.member("time")?.stringValue ?? now.description
        let flow = data.member("flow_id")?.stringValue
        let label = data.member("version")?.intValue.map { "#\($0)" } ?? ""
        if event.type == "heartbeat" {
            let delivery = data.member("delivery")?.stringValue ?? "ok"
            defer { self.delivery = delivery }
            if delivery == self.delivery { return "" }
            return self.row(
                time: time, flow: nil, label: "", type: "delivery", text: self.palette.yellow(Terminal.sanitized(delivery)))
        }
        if label.isEmpty, let progress = data.member("data").flatMap({ Progress($0) }) {
            let bar = "\(progress.bar(self.palette)) \(Terminal.sanitized(progress.note))"
            return self.row(
                time: time, flow: flow, label: "~", type: event.type, text: bar, progressOf: "\(flow ?? "") \(event.type)")
        }
        let text: String
        switch event.type {
        case "snapshot":
            let status = data.member("status")?.stringValue ?? "?"
            let state = Terminal.sanitized(data.member("state")?.string ?? "{}")
            text = "\(self.palette.status(Terminal.sanitized(status))) \(state)"
        case "state_update": text = Self.shown(data, "updates")
        case "closing", "resync", "presence", "caught_up": text = Self.brief(data)
        case "flow_deleted": text = ""
        default: text = Self.shown(data, "data")
        }
        return self.row(time: time, flow: flow, label: label, type: event.type, text: text)
    }

    /// An event as JSON: `{"event":…,"id":…,"data":…}`. Data that is not JSON becomes a string; an empty id becomes `null`.
    static func line(_ event: ServerEvent, _ data: JSONText?) -> String {
        JSONText.object { writer in
            writer.key("event")
            writer.value(event.type)
            writer.key("id")
            if event.id.isEmpty { writer.null() } else { writer.value(event.id) }
            writer.key("data")
            if let data { writer.raw(data) } else { writer.value(event.data) }
        }.string
    }

    /// The JSON of one member of the event; empty if the event lacks the member. A leading `= ` marks a state that was replaced
    /// instead of patched.
    private static func shown(_ data: JSONText, _ member: String) -> String {
        let replaces = data.member("replace")?.boolValue == true
        return (replaces ? "= " : "") + Terminal.sanitized(data.member(member)?.string ?? "")
    }

    /// The members of a control event as `name=value`, without `type`, `flow_id` and `version`, which have columns of their own.
    private static func brief(_ data: JSONText) -> String {
        data.members.filter { !["type", "flow_id", "version"].contains($0.key) }
            .map { Terminal.sanitized("\($0.key)=\($0.value.stringValue ?? $0.value.string)") }.joined(separator: " ")
    }

    /// Formats a row with the columns time, flow, version, type and text.
    /// - Parameters:
    ///   - text: free of control characters other than this program's own color sequences.
    ///   - progressOf: identifies a progress bar; a row with the same value as the row before overwrites it.
    private mutating func row(
        time: String, flow: String?, label: String, type: String, text: String, progressOf: String? = nil
    ) -> String {
        let clock = String(Terminal.sanitized(time).dropFirst(11).prefix(8))
        let flow = self.namesFlow ? Terminal.sanitized(flow ?? "*").padded(to: 16) + " " : ""
        let lead = "\(clock) \(flow)\(label.padded(to: 7)) \(Terminal.sanitized(type).padded(to: 14)) "
        var text = text
        if let width = self.width { text = text.truncated(to: max(20, width - lead.count - 1)) }
        let colored =
            "\(self.palette.dim(clock)) \(self.palette.blue(flow))\(self.palette.dim(label.padded(to: 7))) "
            + "\(self.painted(type)) \(text)\n"
        // Moves the cursor up and clears the previous row of the same progress.
        let drawsOver = progressOf != nil && progressOf == self.progressOf && self.width != nil
        self.progressOf = progressOf
        return (drawsOver ? "\u{1B}[1A\u{1B}[2K" : "") + colored
    }

    /// The event type, padded to its column and in its color.
    private func painted(_ type: String) -> String {
        let name = Terminal.sanitized(type).padded(to: 14)
        switch type {
        case "snapshot", "caught_up", "presence": return self.palette.dim(name)
        case "resync", "closing", "delivery": return self.palette.yellow(name)
        case "flow_deleted": return self.palette.red(name)
        case "state_update": return self.palette.green(name)
        default: return self.palette.bold(name)
        }
    }
}

/// Progress found in an event's data. The first of these members that exists counts: `percent`, `percentage`, `progress` (up to
/// 1 a share, above 1 a percentage); then `done`, `current` or `processed`, each divided by `total`.
struct Progress: Hashable {
    /// From 0 to 1.
    let share: Double
    let note: String

    /// - Returns: `nil` if the data has no such members.
    init?(_ data: JSONText) {
        let number = { (name: String) in data.member(name)?.doubleValue }
        let share: Double
        if let percent = number("percent") ?? number("percentage") {
            share = percent / 100
        } else if let progress = number("progress") {
            share = progress > 1 ? progress / 100 : progress
        } else if let done = number("done") ?? number("current") ?? number("processed"), let total = number("total"), total > 0 {
            share = done / total
        } else {
            return nil
        }
        self.share = min(max(share, 0), 1)
        let note = ["message", "note", "step", "stage", "phase"].lazy.compactMap { data.member($0)?.stringValue }.first
        self.note = note ?? ""
    }

    /// A bar of `cells` characters, followed by the percentage: `████████░░░░░░░░░░░░ 40%`.
    func bar(_ palette: Palette, cells: Int = 20) -> String {
        let full = Int((self.share * Double(cells)).rounded())
        let bar = String(repeating: "█", count: full) + String(repeating: "░", count: cells - full)
        return "\(palette.cyan(bar)) \("\(Int((self.share * 100).rounded(.down)))%".padded(to: 4))"
    }
}

extension String {
    /// Appends blanks until the text has `width` characters. A longer text is unchanged.
    func padded(to width: Int) -> String {
        self.count >= width ? self : self + String(repeating: " ", count: width - self.count)
    }

    /// Truncates to this many visible characters. Color sequences do not count.
    func truncated(to width: Int) -> String {
        var result = ""
        var count = 0
        var inCommand = false
        for character in self {
            if character == "\u{1B}" { inCommand = true }
            if !inCommand {
                count += 1
                // The ellipsis replaces the character in the last column.
                if count == width { return result + "…" + (result.contains("\u{1B}") ? "\u{1B}[0m" : "") }
            }
            result.append(character)
            if inCommand, character.isLetter { inCommand = false }
        }
        return result
    }
}
