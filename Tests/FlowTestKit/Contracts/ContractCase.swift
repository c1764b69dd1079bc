public import Testing

/// One promise of a port, to be run on every implementation of it. A test target runs a suite with
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
