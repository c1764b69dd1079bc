import FlowTestKit
import Foundation
import Testing

/// OPERATIONS.md quotes the scripts that the other suites of this folder run.
struct RunbookDocumentTests {
    @Test(arguments: Runbook.allCases)
    func documentQuotesScript(_ runbook: Runbook) throws {
        let text = try String(contentsOfFile: Runbook.root + "/docs/OPERATIONS.md", encoding: .utf8)
        let language = ["sql": "sql", "sh": "sh", "py": "python"][String(runbook.rawValue.split(separator: ".").last ?? "")]
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            // Without the indentation of a list.
            String(line.drop { $0 == " " })
        }
        let start = try #require(
            lines.firstIndex(of: "<!-- runbook: deploy/runbooks/\(runbook.rawValue) -->"), "\(runbook.rawValue) is not quoted")
        #expect(lines[start + 1] == "" && lines[start + 2] == "```\(language ?? "")")
        let block = lines[(start + 3)...].prefix { $0 != "```" }
        let script = try runbook.body.split(separator: "\n", omittingEmptySubsequences: false).map {
            String($0.drop { $0 == " " })
        }
        #expect(Array(block) == Array(script.dropLast(script.last == "" ? 1 : 0)))
    }

    @Test func everyScriptIsRun() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Runbook.folder)
        #expect(Set(files) == Set(Runbook.allCases.map(\.rawValue)))
    }
}
