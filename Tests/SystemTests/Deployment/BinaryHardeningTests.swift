import FlowTestKit
import Testing

/// The linker's settings of the binary under test. They are the same for a release.
@Suite struct BinaryHardeningTests {
    @Test func relocationsAreReadOnlyAndBinaryIsPositionIndependent() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let process = try ChildProcess(
            "/usr/bin/readelf", ["--wide", "--file-header", "--program-headers", "--dynamic", try HubBinary.path()],
            environment: [:], folder: folder.path)
        #expect(try await process.waitForExit() == .code(0))
        let text = process.output
        #expect(text.contains("BIND_NOW") || text.contains("Flags: NOW"), "symbols are bound lazily")
        #expect(text.contains("GNU_RELRO") && text.contains("DYN (Position-Independent Executable file)"))
        let stack = text.split(separator: "\n").first { $0.contains("GNU_STACK") }
        #expect(stack?.contains(" RW ") == true, "the stack is executable: \(stack ?? "no GNU_STACK")")
    }
}
