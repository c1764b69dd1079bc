import Testing

@testable import flowhub

@Suite struct HumanReadableTests {
    @Test(arguments: [
        (0, "0 B"), (-5, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_549, "1.5 kB"), (9_949, "9.9 kB"), (9_950, "10 kB"),
        (999_499, "999 kB"), (999_500, "1.0 MB"), (29_100_000, "29 MB"), (1_073_741_824, "1.1 GB"), (.max, "9.2 EB"),
    ])
    func bytesHaveAtMostThreeDigits(count: Int, text: String) { #expect(HumanReadable.bytes(count) == text) }

    @Test(arguments: [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (-12_345, "-12,345")])
    func countsHaveThousandsSeparators(count: Int, text: String) { #expect(HumanReadable.count(count) == text) }

    @Test(arguments: [
        (0.0, "0 s"), (0.2, "1 s"), (59, "59 s"), (59.5, "1 min 0 s"), (125, "2 min 5 s"), (3_780, "1 h 3 min"), (-1, "0 s"),
        (.infinity, "277777 h 46 min"),
    ])
    func durationsAreRoundedUp(seconds: Double, text: String) { #expect(HumanReadable.duration(seconds: seconds) == text) }
}

@Suite struct ProgressLineTests {
    private static let line = ProgressLine(
        label: "Sending", unit: .bytes, done: 12_300_000, total: 29_100_000, rate: 3_400_000)

    @Test func wideLineShowsAllParts() {
        #expect(
            Self.line.text(width: 80) == "Sending  ██████████░░░░░░░░░░░░░░  42%  12 MB of 29 MB  3.4 MB/s  5 s left")
    }

    @Test func fitsAnyWidthAndDropsLeastImportantPartsFirst() {
        let whole = Self.line.text(width: 200).count
        for width in 1...whole {
            let text = Self.line.text(width: width)
            #expect(text.count <= width, "in \(width) columns: \(text)")
        }
        #expect(Self.line.text(width: 62) == "Sending  ████░░░░░░  42%  12 MB of 29 MB  3.4 MB/s  5 s left")
        #expect(Self.line.text(width: 51) == "Sending  ████░░░░░░  42%  12 MB of 29 MB  3.4 MB/s")
        #expect(Self.line.text(width: 42) == "Sending  ████░░░░░░  42%  12 MB of 29 MB")
        #expect(Self.line.text(width: 30) == "Sending   42%  12 MB of 29 MB")
        #expect(Self.line.text(width: 12) == "Sending  12…")
    }

    @Test func unknownTotalShowsNoBarAndNoRemainingTime() {
        let line = ProgressLine(label: "Fetching", unit: .items("records"), done: 12_345, total: nil, rate: 2_000)
        #expect(line.text(width: 80) == "Fetching  12,345 records  2,000/s")
    }

    @Test func colorsDoNotCountTowardWidth() {
        let plain = Self.line.text(width: 70)
        let painted = Self.line.text(width: 70, palette: Palette(isOn: true))
        #expect(painted.contains("\u{1B}[36m█"))
        #expect(
            painted.replacing("\u{1B}[36m", with: "").replacing("\u{1B}[0m", with: "") == plain)
    }

    @Test func percentageNeverExceeds100AndRoundsDown() {
        var line = ProgressLine(label: "Sending", unit: .bytes, done: 0, total: 0, rate: nil)
        #expect(line.text(width: 80).contains("100%"))
        line.total = 10
        line.done = 20
        #expect(line.text(width: 80).contains("████ 100%"))
        line.done = 9_999
        line.total = 10_000
        #expect(line.text(width: 80).contains(" 99%"))
    }

    @Test func summaryShowsAmountAndDuration() {
        #expect(Self.line.summary(seconds: 4) == "Sending  12 MB of 29 MB in 4 s (3.1 MB/s)")
        let records = ProgressLine(label: "Moved", unit: .items("records"), done: 5_000, total: 5_000, rate: nil)
        #expect(records.summary(seconds: 0.1) == "Moved  5,000 records in 1 s")
    }
}

@Suite struct ProgressRendererTests {
    private static func renderer(_ style: ProgressRenderer.Style) -> ProgressRenderer {
        let line = ProgressLine(label: "Sending", unit: .items("rows"), done: 0, total: 1_000, rate: nil)
        return ProgressRenderer(style: style, line: line, now: 100)
    }

    private static let drawn = ProgressRenderer.Style.drawn(Palette(isOn: false))

    private static func update(_ renderer: inout ProgressRenderer, _ done: Int, _ now: Double) -> String? {
        renderer.update(done: done, total: 1_000, now: now, width: { 80 })
    }

    @Test func drawsAtMostTenTimesPerSecond() {
        var renderer = Self.renderer(Self.drawn)
        var drawings = 0
        for step in 0..<1_000 where Self.update(&renderer, step, 100 + Double(step) / 1_000) != nil { drawings += 1 }
        #expect((9...10).contains(drawings))
    }

    @Test func drawsCompletionImmediatelyAndOnce() {
        var renderer = Self.renderer(Self.drawn)
        _ = Self.update(&renderer, 990, 100)
        let soon = Self.update(&renderer, 999, 100.01)
        #expect(soon == nil)
        let full = Self.update(&renderer, 1_000, 100.02)
        #expect(full?.contains("100%") == true)
        let repeated = Self.update(&renderer, 1_000, 100.03)
        #expect(repeated == nil)
    }

    @Test func redrawsInPlaceAndFinishClearsLine() throws {
        var renderer = Self.renderer(Self.drawn)
        let first = try #require(Self.update(&renderer, 1, 100))
        #expect(first.hasPrefix("\r") && first.hasSuffix("\u{1B}[K") && !first.contains("\n"))
        let summary = renderer.finish(keepsSummary: true, now: 102)
        #expect(summary == "\r\u{1B}[KSending  1 of 1,000 rows in 2 s (0/s)\n")
        #expect(renderer.finish(keepsSummary: false, now: 103) == nil, "the bar was already removed")
    }

    @Test func interruptPrintsTextOnSeparateLine() {
        var renderer = Self.renderer(Self.drawn)
        let before = renderer.interrupt(with: "hello", now: 100, width: { 80 })
        #expect(before == "hello\n")
        _ = Self.update(&renderer, 1, 100)
        let text = renderer.interrupt(with: "hello", now: 100, width: { 80 })
        #expect(text.hasPrefix("\r\u{1B}[Khello\n\rSending"))
    }

    @Test func linesStyleWritesPeriodicLinesWithoutEscapes() throws {
        var renderer = Self.renderer(.lines)
        var lines: [String] = []
        for second in 0...20 {
            if let line = Self.update(&renderer, second * 50, 100 + Double(second)) { lines.append(line) }
        }
        #expect(lines.count == 4)
        let first = try #require(lines.first)
        #expect(first == "Sending  ██████░░░░░░░░░░░░░░░░░░  25%  250 of 1,000 rows  50/s  15 s left\n")
        #expect(lines.allSatisfy { !$0.contains("\r") && !$0.contains("\u{1B}") })
    }

    @Test func hiddenStylePrintsOnlyOtherText() {
        var renderer = Self.renderer(.hidden)
        let drawing = Self.update(&renderer, 1, 200)
        let other = renderer.interrupt(with: "hello", now: 200, width: { 80 })
        let end = renderer.finish(keepsSummary: true, now: 201)
        #expect(drawing == nil && other == "hello\n" && end == nil)
    }

    @Test func rateCoversLastTenSecondsAndResetsOnRestart() throws {
        var renderer = Self.renderer(Self.drawn)
        for second in 1...30 { _ = Self.update(&renderer, min(second, 10) * 60, 100 + Double(second)) }
        #expect(renderer.line.rate == 0, "no progress in the last ten seconds")
        _ = Self.update(&renderer, 0, 131)
        #expect(renderer.line.rate == nil)
        _ = Self.update(&renderer, 100, 132)
        #expect(try #require(renderer.line.rate) == 100)
    }

    @Test(arguments: [(nil, false), (false, true), (false, false)] as [(Bool?, Bool)])
    func styleIsHiddenWithoutTerminalOrIfDisabled(requested: Bool?, isTerminal: Bool) {
        #expect(ProgressOptions.style(requested: requested, isTerminal: isTerminal) == .hidden)
    }

    @Test func requestedProgressWithoutTerminalUsesLines() {
        #expect(ProgressOptions.style(requested: true, isTerminal: false) == .lines)
    }
}
