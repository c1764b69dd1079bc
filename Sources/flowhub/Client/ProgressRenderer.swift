/// When a line of progress is written, and what: pure, with the time told.
struct ProgressRenderer: Sendable {
    /// How progress is shown.
    enum Style: Hashable, Sendable {
        /// Not at all.
        case hidden
        /// One line of a terminal, written over again and again.
        case drawn(Palette)
        /// A line of its own every few seconds, for logs.
        case lines
    }

    /// Seconds between two drawings, between two lines, and the time that the rate is taken over.
    private static let drawingPause = 0.1
    private static let linePause = 5.0
    private static let rateSpan = 10.0
    private static let samplePause = 0.25

    let style: Style
    private(set) var line: ProgressLine
    private let start: Double
    /// When something was last written; the beginning, for lines: the first one comes when there is something to tell.
    private var written: Double?
    private var isOnScreen = false
    private var samples: [(time: Double, done: Int)]

    /// - Parameter now: seconds, from any moment on.
    init(style: Style, line: ProgressLine, now: Double) {
        self.style = style
        self.line = line
        self.start = now
        self.samples = [(now, line.done)]
        if style == .lines { self.written = now }
    }

    /// - Returns: what to write, if anything. A step back (an attempt from the start) begins the rate anew.
    mutating func update(done: Int, total: Int?, now: Double, width: () -> Int) -> String? {
        let before = self.line.done
        if done < before { self.samples = [(now, done)] }
        self.line.done = done
        self.line.total = total
        self.takeSample(now)
        guard let written = self.written else { return self.write(now, width) }
        // The bar is full when it is: what is waited for then is not this any more.
        if self.style != .lines, done == total, before != done { return self.write(now, width) }
        let pause = self.style == .lines ? Self.linePause : Self.drawingPause
        return now - written >= pause ? self.write(now, width) : nil
    }

    /// A line about something else, which must not stand in the middle of a bar.
    mutating func interrupt(with text: String, now: Double, width: () -> Int) -> String {
        guard self.isOnScreen else { return text + "\n" }
        return "\r\u{1B}[K\(text)\n" + (self.write(now, width) ?? "")
    }

    /// - Parameter keepsSummary: whether what was done is left on the screen; else the bar goes without a trace.
    mutating func finish(keepsSummary: Bool, now: Double) -> String? {
        guard self.style != .hidden else { return nil }
        let summary = keepsSummary ? self.line.summary(seconds: now - self.start) + "\n" : ""
        defer { self.isOnScreen = false }
        let text = (self.isOnScreen ? "\r\u{1B}[K" : "") + summary
        return text.isEmpty ? nil : text
    }

    private mutating func write(_ now: Double, _ width: () -> Int) -> String? {
        self.written = now
        switch self.style {
        case .hidden: return nil
        case .lines: return self.line.text(width: .max / 2) + "\n"
        case .drawn(let palette):
            self.isOnScreen = true
            // In the last column many terminals would begin a new line.
            return "\r" + self.line.text(width: width() - 1, palette: palette) + "\u{1B}[K"
        }
    }

    private mutating func takeSample(_ now: Double) {
        if let last = self.samples.last, now - last.time >= Self.samplePause {
            self.samples.append((now, self.line.done))
            // One that is older than the span stays, so that the rate is always over all of it.
            while self.samples.count > 2, now - self.samples[1].time >= Self.rateSpan { self.samples.removeFirst() }
        }
        guard let first = self.samples.first, now - first.time >= Self.samplePause else {
            self.line.rate = nil
            return
        }
        self.line.rate = Double(self.line.done - first.done) / (now - first.time)
    }
}
