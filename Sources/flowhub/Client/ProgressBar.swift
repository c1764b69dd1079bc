import ArgumentParser
import Foundation
import Synchronization

/// Shows the progress of an operation on standard error. Thread-safe; draws at most ten times per second.
final class ProgressBar: Sendable {
    private let renderer: Mutex<ProgressRenderer>

    /// - Parameters:
    ///   - label: names the operation; free of control characters.
    ///   - total: the amount to process, in `unit`; `nil` if unknown.
    init(
        label: String, total: Int?, unit: ProgressLine.Unit, style: ProgressRenderer.Style = ProgressOptions.automaticStyle
    ) {
        let line = ProgressLine(label: label, unit: unit, done: 0, total: total)
        self.renderer = Mutex(ProgressRenderer(style: style, line: line, now: Self.now))
    }

    /// Sets the progress.
    /// - Parameter done: the amount processed since the start.
    func update(_ done: Int) {
        self.write { $0.update(done: done, total: $0.line.total, now: Self.now, width: Self.width) }
    }

    /// Adds `count` to the processed amount.
    func advance(by count: Int) {
        self.write { $0.update(done: $0.line.done + count, total: $0.line.total, now: Self.now, width: Self.width) }
    }

    /// Prints a line on standard error above the bar.
    func note(_ text: String) {
        self.write { $0.interrupt(with: text, now: Self.now, width: Self.width) }
    }

    /// Replaces the bar with a summary: amount, duration and rate.
    func finish() { self.write { $0.finish(keepsSummary: true, now: Self.now) } }

    /// Removes the bar.
    func clear() { self.write { $0.finish(keepsSummary: false, now: Self.now) } }

    /// Writes what `text` renders to standard error, under one lock, so that the output of two threads does not mix.
    private func write(_ text: (inout ProgressRenderer) -> String?) {
        self.renderer.withLock { renderer in
            guard let text = text(&renderer) else { return }
            try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
        }
    }

    private static var now: Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }

    /// Columns of the terminal at standard error; 80 if they are unknown.
    private static func width() -> Int { Terminal.width(of: STDERR_FILENO) ?? 80 }
}

/// The options `--progress` and `--no-progress`.
struct ProgressOptions: ParsableArguments {
    @Flag(
        inversion: .prefixedNo,
        help:
            "Show progress on standard error: a bar on a terminal, else a line every 5 seconds. (default: only on a terminal)"
    )
    var progress: Bool?

    var style: ProgressRenderer.Style { Self.style(requested: self.progress, isTerminal: Self.isTerminal) }

    /// The style without options: a bar on a terminal, else hidden.
    static var automaticStyle: ProgressRenderer.Style { Self.style(requested: nil, isTerminal: Self.isTerminal) }

    /// The style for `--progress` (`true`), `--no-progress` (`false`) or neither (`nil`).
    static func style(requested: Bool?, isTerminal: Bool) -> ProgressRenderer.Style {
        switch (requested, isTerminal) {
        case (false, _), (nil, false): .hidden
        case (_, true): .drawn(Palette(isOn: Terminal.isColorful(STDERR_FILENO)))
        case (true, false): .lines
        }
    }

    private static var isTerminal: Bool {
        isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }
}
