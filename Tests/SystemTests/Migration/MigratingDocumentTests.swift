import FlowTestKit
import Foundation
import Testing

/// MIGRATING.md cites tests and settings. Each must exist.
struct MigratingDocumentTests {
    private static let document = "docs/MIGRATING.md"

    /// The names of the test functions in the sources, each with its suite: `Suite.test`.
    private static func tests() throws -> Set<String> {
        let root = Repository.path("Tests")
        let files = try #require(FileManager.default.enumerator(atPath: root))
        var names: Set<String> = []
        for case let file as String in files where file.hasSuffix(".swift") {
            let text = try String(contentsOfFile: root + "/" + file, encoding: .utf8)
            var suite = ""
            var isTest = false
            for line in text.utf8.split(separator: UInt8(ascii: "\n")).map({ Substring($0) }) {
                // Few lines have these words, and a regular expression takes long.
                if line.utf8.contains("Tests".utf8),
                    let name = line.firstMatch(of: /^ *(?:@Suite.* )?(?:final )?(?:struct|class|extension) (\w+Tests)\b/)?.1
                {
                    suite = String(name)
                }
                if line.utf8.contains("@Test".utf8) { isTest = true }
                if isTest, line.utf8.contains("func ".utf8), let name = line.firstMatch(of: /func (\w+)\(/)?.1 {
                    names.insert("\(suite).\(name)")
                    isTest = false
                }
            }
        }
        return names
    }

    @Test func everyCitedTestExists() throws {
        let text = try Repository.text(Self.document)
        let tests = try Self.tests()
        try #require(tests.contains("MigratingDocumentTests.everyCitedTestExists"))
        let cited = text.matches(of: /`(\w+Tests\.\w+)`/).map { String($0.1) }
        #expect(cited.count > 40)
        for name in cited { #expect(tests.contains(name), "\(name) is not a test") }
    }

    /// Every row of a table with the column "test" cites a test.
    @Test func everyRowCitesTest() throws {
        let lines = try Repository.text(Self.document).split(separator: "\n", omittingEmptySubsequences: false)
        var isCiting = false
        var rows = 0
        for line in lines {
            if line.hasSuffix("| test |") {
                isCiting = true
            } else if !line.hasPrefix("|") {
                isCiting = false
            } else if isCiting, !line.hasPrefix("|---") {
                rows += 1
                let cell = line.split(separator: "|").last.map(String.init) ?? ""
                #expect(cell.contains(/`\w+Tests\.\w+`/), "no test: \(line.prefix(60))")
            }
        }
        #expect(rows > 40)
    }

    @Test func everyNamedSettingExists() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let settings = try ChildProcess(try HubBinary.path(), ["settings"], environment: [:], folder: folder.path)
        #expect(try await settings.waitForExit() == .code(0))
        let known = Set(settings.output.matches(of: /(?m)^\| `(\w+)` \|/).map { String($0.1) })
        try #require(known.count > 50)
        let lines = try Repository.text(Self.document).split(separator: "\n")
        let named = lines.flatMap { $0.matches(of: /\b(?:FLOWHUB|R2|REDIS|UPSTASH_REDIS)_[A-Z0-9_]+\b/).map { String($0.0) } }
        try #require(named.count > 10)
        for name in Set(named) { #expect(known.contains(name), "\(name) is not a setting") }
    }
}
