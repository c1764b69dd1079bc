import FlowTestKit
import Foundation
import Testing

/// README.md's first minute, as it is written there.
@Suite struct FirstMinuteTests {
    /// A fenced block of the section "Try it" that contains a text, for a hub on this port.
    private static func block(_ language: String, containing text: String, port: Int) throws -> String {
        let readme = try Repository.text("README.md")
        let section = try #require(readme.components(separatedBy: "\n## ").first { $0.hasPrefix("Try it\n") })
        let blocks = section.components(separatedBy: "\n```\(language)\n").dropFirst().map {
            $0.components(separatedBy: "\n```\n")[0]
        }
        let block = try #require(blocks.first { $0.contains(text) }, "README.md has no block of \(language) with \(text)")
        return block.replacing("localhost:8080", with: "localhost:\(port)")
    }

    @Test func readersOfCurlAndPythonShowEachEvent() async throws {
        try await HubProcess.running(["FLOWHUB_LINGER_MS": "100"]) { hub in
            let folder = hub.folder.path
            func start(_ program: String, _ arguments: [String]) throws -> ChildProcess {
                try ChildProcess(program, arguments, environment: [:], folder: folder)
            }
            let program = try Self.block("python", containing: "import", port: hub.port)
            #expect(program.split(separator: "\n").count == 5)
            let python = try start(try TestTools.program("python"), ["-u", "-c", program])
            let curl = try start("/bin/bash", ["-c", Self.block("sh", containing: "curl -N", port: hub.port)])
            let readers = [python, curl]
            do {
                try await eventually("both readers to be connected") {
                    python.output.contains("'version': 0}\n") && curl.output.contains("event: caught_up\n")
                }
                let changes = try start("/bin/bash", ["-ec", Self.block("sh", containing: "-X PATCH", port: hub.port)])
                #expect(try await changes.waitForExit() == .code(0))
                for reader in readers { #expect(try await reader.waitForExit() == .code(0), "\(reader.errorOutput)") }
            } catch {
                for reader in readers { await reader.destroy() }
                throw TimedOut("\(error); \(readers.map { $0.output + $0.errorOutput })")
            }
            for text in [
                #""status":"running","total":200"#, #""name":"a.csv""#, #""done":40"#, #""status":"completed""#,
                #""reason":"finished""#,
            ] {
                #expect(curl.output.contains(text), "\(text): \(curl.output)")
                let printed = text.replacing("\"", with: "'").replacing(":", with: ": ").replacing(",", with: ", ")
                #expect(python.output.contains(printed), "\(printed): \(python.output)")
            }
        }
    }
}
