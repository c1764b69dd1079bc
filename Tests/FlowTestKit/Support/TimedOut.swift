/// A condition was not satisfied within its timeout.
public struct TimedOut: Error, CustomStringConvertible {
    public let what: String

    public init(_ what: String) { self.what = what }

    public var description: String { "timed out waiting for: \(self.what)" }
}

/// Polls until the condition holds. For state without a notification: another process's memory, a response of the hub, a
/// log file.
///
/// - Parameter what: description of the condition, for the error.
/// - Throws: ``TimedOut``, or the error of the condition.
public func eventually(
    _ what: String, within timeout: Duration = .seconds(20), every interval: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + timeout
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else { throw TimedOut(what) }
        try await Task.sleep(for: interval)
    }
}
