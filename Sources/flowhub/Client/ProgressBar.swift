import ArgumentParser
import Foundation
import Synchronization

/// Tells on standard error how far something is. Any thread may tell it; at most ten times a second it is drawn.
final class ProgressBar: Sendable {
    private let machine: Mutex<ProgressRenderer>

    /// - Parameters:
    ///   - label: what is being done, without anything that a terminal would obey.
    ///   - total: how much there is to do; `nil` if nobody knows.
    init(
        label: String, total: Int?, unit: ProgressLine.Unit, style: ProgressRenderer.Style = ProgressOptions.automaticStyle
    ) {
        let line = ProgressLine(label: label, unit: unit, done: 0, total: total)
        self.machine = Mutex(ProgressRenderer(style: style, line: line, now: Self.now))
    }

    /// - Parameter done: in all, not since the last time.
    func update(_ done: Int) {
        self.write { $0.update(done: done, total: $0.line.total, now: Self.now, width: Self.width) }
    }

    /// By how much it went on.
    func advance(by count: Int) {
        self.write { $0.update(done: $0.line.done + count, total: $0.line.total, now: Self.now, width: Self.width) }
    }

    /// A line on standard error that does not collide with the bar.
    func say(_ text: String) {
        self.write { $0.interrupt(with: text, now: Self.now, width: Self.width) }
    }

    /// Leaves a line that says what was done, and in what time.
    func finish() { self.write { $0.finish(keepsSummary: true, now: Self.now) } }

    /// Takes the bar away, as something else is to be said.
    func clear() { self.write { $0.finish(keepsSummary: false, now: Self.now) } }

    /// Under the lock, since two drawings must not mix.
    private func write(_ text: (inout ProgressRenderer) -> String?) {
        self.machine.withLock { machine in
            guard let text = text(&machine) else { return }
            try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
        }
    }

    private static var now: Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }

    private static func width() -> Int { Terminal.width(of: STDERR_FILENO) ?? 80 }
}

/// Whether progress is shown.
struct ProgressOptions: ParsableArguments {
    @Flag(
        inversion: .prefixedNo,
        help:
            "Tell how far it is on standard error: in place on a terminal, else in a line every few seconds. (default: on a terminal)"
    )
    var progress: Bool?

    var style: ProgressRenderer.Style { Self.style(asked: self.progress, isTerminal: Self.isTerminal) }

    /// Drawn on a terminal, else hidden.
    static var automaticStyle: ProgressRenderer.Style { Self.style(asked: nil, isTerminal: Self.isTerminal) }

    static func style(asked: Bool?, isTerminal: Bool) -> ProgressRenderer.Style {
        switch (asked, isTerminal) {
        case (false, _), (nil, false): .hidden
        case (_, true): .drawn(Palette(isOn: Terminal.isColourful(STDERR_FILENO)))
        case (true, false): .lines
        }
    }

    private static var isTerminal: Bool {
        isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }
}
