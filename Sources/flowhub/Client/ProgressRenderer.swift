/// Decides when to write progress, and renders it. A value type; the time is a parameter.
struct ProgressRenderer: Sendable {
    /// How progress is shown.
    enum Style: Hashable, Sendable {
        /// Shows nothing.
        case hidden
        /// One line of a terminal, redrawn in place.
        case drawn(Palette)
        /// A new line every 5 seconds, for logs.
        case lines
    }

    /// Minimum seconds between two drawings of the bar.
    private static let drawInterval = 0.1
    /// Minimum seconds between two lines.
    private static let lineInterval = 5.0
    /// Seconds over which the rate is measured.
    private static let rateSpan = 10.0
    /// Minimum seconds between two samples of the progress, from which the rate is computed.
    private static let sampleInterval = 0.25

    let style: Style
    private(set) var line: ProgressLine
    private let start: Double
    /// Time of the most recent output. With ``Style/lines`` initially the start, so that the first line is written after one
    /// interval.
    private var written: Double?
    private var isOnScreen = false
    private var samples: [(time: Double, done: Int)]

    /// - Parameter now: seconds of a monotonic clock with any origin.
    init(style: Style, line: ProgressLine, now: Double) {
        self.style = style
        self.line = line
        self.start = now
        self.samples = [(now, line.done)]
        if style == .lines { self.written = now }
    }

    /// Updates the progress. If `done` decreases, because an attempt starts over, the rate is measured from scratch. `width`
    /// returns the columns of the terminal; it is only called if something is due.
    /// - Returns: what to write; `nil` if nothing is due.
    mutating func update(done: Int, total: Int?, now: Double, width: () -> Int) -> String? {
        let before = self.line.done
        if done < before { self.samples = [(now, done)] }
        self.line.done = done
        self.line.total = total
        self.takeSample(now)
        guard let written = self.written else { return self.write(now, width) }
        // Draws completion immediately: after it the command may wait for the hub without further updates.
        if self.style != .lines, done == total, before != done { return self.write(now, width) }
        let interval = self.style == .lines ? Self.lineInterval : Self.drawInterval
        return now - written >= interval ? self.write(now, width) : nil
    }

    /// Prints a message while the bar is shown.
    /// - Returns: the output that replaces the bar with the message, and redraws the bar below it.
    mutating func interrupt(with text: String, now: Double, width: () -> Int) -> String {
        guard self.isOnScreen else { return text + "\n" }
        return "\r\u{1B}[K\(text)\n" + (self.write(now, width) ?? "")
    }

    /// Ends the output of progress, and clears the bar if one is shown.
    /// - Parameter keepsSummary: whether a summary replaces the bar; otherwise the bar is only removed.
    /// - Returns: what to write; `nil` if nothing is to be written.
    mutating func finish(keepsSummary: Bool, now: Double) -> String? {
        guard self.style != .hidden else { return nil }
        let summary = keepsSummary ? self.line.summary(seconds: now - self.start) + "\n" : ""
        defer { self.isOnScreen = false }
        let text = (self.isOnScreen ? "\r\u{1B}[K" : "") + summary
        return text.isEmpty ? nil : text
    }

    /// Renders the current progress in the chosen style, and stores the time of this output.
    /// - Returns: what to write; `nil` if the style is hidden.
    private mutating func write(_ now: Double, _ width: () -> Int) -> String? {
        self.written = now
        switch self.style {
        case .hidden: return nil
        case .lines: return self.line.text(width: .max / 2) + "\n"
        case .drawn(let palette):
            self.isOnScreen = true
            // One column less: many terminals wrap after a character in the last column.
            return "\r" + self.line.text(width: width() - 1, palette: palette) + "\u{1B}[K"
        }
    }

    /// Records the progress at this time, at most every 0.25 s, and computes the rate over the last 10 s.
    private mutating func takeSample(_ now: Double) {
        if let last = self.samples.last, now - last.time >= Self.sampleInterval {
            self.samples.append((now, self.line.done))
            // Keeps one sample older than 10 s, so that the rate covers the whole 10 s.
            while self.samples.count > 2, now - self.samples[1].time >= Self.rateSpan { self.samples.removeFirst() }
        }
        guard let first = self.samples.first, now - first.time >= Self.sampleInterval else {
            self.line.rate = nil
            return
        }
        self.line.rate = Double(self.line.done - first.done) / (now - first.time)
    }
}
