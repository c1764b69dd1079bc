public import Testing

/// One test case of a port's contract, which every implementation of the port passes. A test target runs all cases with
/// `@Test(arguments: SomeContract.cases)`.
public struct ContractCase<Subject: Sendable>: Sendable, CustomTestStringConvertible {
    public let name: String
    public let run: @Sendable (Subject) async throws -> Void

    public init(_ name: String, run: @escaping @Sendable (Subject) async throws -> Void) {
        self.name = name
        self.run = run
    }

    public var testDescription: String { self.name }
}
