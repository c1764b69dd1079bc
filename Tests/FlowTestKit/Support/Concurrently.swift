public import Testing

/// Runs the cases of a test at the same time, each to its end, like those of a parametrized test. For cases that have servers of
/// their own, spend most of their time waiting, and measure neither time nor load.
///
/// A case that throws is recorded as an issue with its description, and does not end the others. An expectation that the cases
/// share should name the case in its comment.
/// - Parameter limit: maximum number of cases that run at the same time.
public func concurrently<Case: Sendable>(
    _ cases: some Sequence<Case>, atMost limit: Int = .max, at location: SourceLocation = #_sourceLocation,
    _ body: @escaping @Sendable (Case) async throws -> Void
) async {
    await withTaskGroup(of: Void.self) { tasks in
        for (number, value) in cases.enumerated() {
            if number >= limit { await tasks.next() }
            tasks.addTask {
                do { try await body(value) } catch {
                    Issue.record(error, "\(String(describingForTest: value))", sourceLocation: location)
                }
            }
        }
    }
}
