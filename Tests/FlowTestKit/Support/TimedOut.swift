/// Something that was waited for did not happen in time.
public struct TimedOut: Error, CustomStringConvertible {
    public let what: String

    public init(_ what: String) { self.what = what }

    public var description: String { "not within the time allowed: \(self.what)" }
}

/// Asks again and again until the condition holds, for what cannot be waited for in any other way: another process's
/// memory, a page of the hub, a log file.
///
/// - Parameter what: named in the error.
/// - Throws: ``TimedOut``, and whatever the condition throws.
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
