import Dispatch
import FlowCore
import Foundation
import Logging
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// Writes log lines to standard error, and never waits for its reader, which may be slow or have stopped: the caller may be an
/// event loop. While standard error does not accept a line at once, lines wait in memory and are written on a queue of their own.
/// Beyond a limit they are dropped, and the log says how many.
final class LogWriter: Sendable {
    /// Maximum lines in one write.
    private static let batch = 256
    /// Maximum bytes that a pipe takes in one write without waiting, if it takes any (`PIPE_BUF`).
    private static let directBytes = 4_096

    private struct State {
        var waiting: [LogLine] = []
        /// Lines that wait or are being written.
        var count = 0
        /// Lines that were dropped since the last line about dropped ones.
        var dropped = 0
        /// The metadata of the logger of a dropped line.
        var context: Logger.Metadata = [:]
        var isWriting = false
    }

    let format: LogLine.Format
    private let maximum: Int
    private let state = Mutex(State())
    private let totalDropped = Atomic<Int>(0)
    private let queue = DispatchQueue(label: "flowhub.log")

    /// - Parameter maximum: maximum lines that wait or are being written (`FLOWHUB_MAX_LOG_LINES`). From the level warning on, a
    ///   quarter more is accepted, so that a burst of other lines does not suppress a warning.
    init(format: LogLine.Format, maximum: Int) {
        self.format = format
        self.maximum = maximum
    }

    /// Number of lines that were dropped.
    var droppedLines: Int { self.totalDropped.load(ordering: .relaxed) }

    /// Writes or adds a line.
    /// - Parameter isFrequent: whether the line is left to the queue anyway, so that the caller need not format it.
    func add(_ line: LogLine, isFrequent: Bool) {
        let limit = line.level >= .warning ? self.maximum + self.maximum / 4 : self.maximum
        let mustStart = self.state.withLock { state -> Bool in
            if !isFrequent, !state.isWriting, self.writeDirectly(line) { return false }
            guard state.count < limit else {
                state.dropped += 1
                state.context = line.context
                self.totalDropped.add(1, ordering: .relaxed)
                return false
            }
            state.waiting.append(line)
            state.count += 1
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if mustStart { self.queue.async { self.writeWaiting() } }
    }

    /// Waits until the lines that were added before are written, at most for the time. For the end of the process.
    func flush(within time: DispatchTimeInterval = .seconds(2)) {
        let done = DispatchSemaphore(value: 0)
        self.queue.async { done.signal() }
        _ = done.wait(timeout: .now() + time)
    }

    /// Writes to standard error. The text is lost if that is a file on a full disk, or a closed pipe.
    static func write(_ text: String) {
        Array(text.utf8).withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var start = 0
            while start < bytes.count {
                let count = Glibc.write(STDERR_FILENO, base + start, bytes.count - start)
                if count > 0 {
                    start += count
                } else if errno == EAGAIN {
                    // Another process has made the pipe or terminal non-blocking.
                    var standardError = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
                    poll(&standardError, 1, -1)
                } else if errno != EINTR {
                    return
                }
            }
        }
    }

    /// Writes a line if standard error accepts it without waiting.
    private func writeDirectly(_ line: LogLine) -> Bool {
        var standardError = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard poll(&standardError, 1, 0) == 1 else { return false }
        let text = line.text(self.format)
        guard text.utf8.count <= Self.directBytes else { return false }
        Self.write(text)
        return true
    }

    /// Writes all waiting lines.
    private func writeWaiting() {
        while true {
            let (lines, dropped, context) = self.state.withLock { state in
                if state.waiting.isEmpty, state.dropped == 0 { state.isWriting = false }
                defer { (state.waiting, state.dropped) = ([], 0) }
                return (state.waiting, state.dropped, state.context)
            }
            if lines.isEmpty, dropped == 0 { return }
            for start in stride(from: 0, to: lines.count, by: Self.batch) {
                let part = lines[start..<min(start + Self.batch, lines.count)]
                Self.write(part.lazy.map { $0.text(self.format) }.joined())
                self.state.withLock { $0.count -= part.count }
            }
            if dropped > 0 { Self.write(Self.notice(of: dropped, context).text(self.format)) }
        }
    }

    /// The line that says how many lines are missing here.
    private static func notice(of dropped: Int, _ context: Logger.Metadata) -> LogLine {
        LogLine(
            time: SystemClock.now(), level: .warning, message: "Log lines were dropped: standard error is read too slowly",
            context: context, metadata: ["lines": .stringConvertible(dropped)])
    }
}
