import FlowTestKit
import Foundation
import Testing

/// What the HTTP clients of the field read from the hub. Each is told of an event before the next one is published.
@Suite(.readers) struct ClientMatrixTests {
    private static func check(_ client: ReaderClient, _ what: ReaderCase) async throws {
        let outcome = try await ReaderMatrix.current.outcome(of: client, in: what)
        switch (outcome, client.fault(in: what)) {
        case (.read, nil): break
        case (.read, let fault?): Issue.record("\(client) has lost its fault (\(what)): \(fault.document)")
        case (.failed(let why), nil): Issue.record("\(client), \(what): \(why)")
        case (.failed(let why), let fault?):
            #expect(why.contains(fault.symptom), "\(client), \(what): \(why); expected: \(fault.symptom)")
        }
    }

    @Test(arguments: ReaderClient.allCases)
    func newSubscriberReadsStateAndEvents(_ client: ReaderClient) async throws { try await Self.check(client, .fresh) }

    @Test(arguments: ReaderClient.allCases)
    func lostStreamContinuesAtClientsCursor(_ client: ReaderClient) async throws { try await Self.check(client, .resumed) }

    @Test(arguments: ReaderClient.allCases)
    func filteredStreamHasOnlyNamedTypes(_ client: ReaderClient) async throws { try await Self.check(client, .filtered) }

    @Test(arguments: ReaderClient.allCases)
    func stateOf900KBArrives(_ client: ReaderClient) async throws { try await Self.check(client, .largeState) }

    @Test(arguments: ReaderClient.allCases)
    func textOfAnyScriptArrives(_ client: ReaderClient) async throws { try await Self.check(client, .text) }

    @Test(arguments: ReaderClient.allCases)
    func unicodeLineEndsArrive(_ client: ReaderClient) async throws { try await Self.check(client, .separators) }

    @Test(arguments: ReaderClient.allCases)
    func singleBytesMakeTheSameEvents(_ client: ReaderClient) async throws { try await Self.check(client, .singleBytes) }

    @Test(arguments: ReaderClient.allCases)
    func singleBytesWithCRLFMakeTheSameEvents(_ client: ReaderClient) async throws {
        try await Self.check(client, .singleBytesWithCRLF)
    }

    /// One client after the other, from the start of the publication to the client's report.
    @Test(arguments: ReaderClient.allCases)
    func mostEventsArriveWithin200Milliseconds(_ client: ReaderClient) async throws {
        let delays = try await ReaderMatrix.current.delays(of: client, count: TestScale.pick(9, full: 200))
        #expect(delays[delays.count / 2] < .milliseconds(200), "\(client): \(delays)")
        if TestScale.isFull {
            func milliseconds(_ duration: Duration) -> String { String(format: "%.1f", duration / .milliseconds(1)) }
            let (median, late, last) = (delays[delays.count / 2], delays[delays.count * 99 / 100], delays[delays.count - 1])
            print("| \(client) | \(milliseconds(median)) ms | \(milliseconds(late)) ms | \(milliseconds(last)) ms |")
        }
    }
}

/// PROTOCOL.md's table of known clients.
@Suite struct KnownClientsDocumentTests {
    private static func rows() throws -> [[String]] {
        let text = try Repository.text("docs/PROTOCOL.md")
        let section = try #require(text.components(separatedBy: "\n## ").first { $0.hasPrefix("Known clients\n") })
        return section.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst().map { line in
            line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    @Test func tableNamesEveryClientWithItsFaults() throws {
        let rows = try Self.rows()
        #expect(Set(rows.map { $0[1] }) == Set(ReaderClient.allCases.map(\.description)))
        for row in rows {
            let client = try #require(ReaderClient.allCases.first { $0.description == row[1] })
            for fault in ReaderCase.allCases.compactMap({ client.fault(in: $0) }) {
                #expect(row[4].contains(fault.document), "\(client): \(fault.document)")
            }
        }
    }

    @Test func tableNamesTestedVersions() throws {
        let install = try Repository.text(".ci/install")
        for row in try Self.rows() where row[2].first?.isNumber == true && row[1].hasPrefix("Node") == false {
            let package = row[1].prefix { $0 != "," && $0 != " " }
            #expect(install.contains("\(package)==\(row[2])"), "\(package) \(row[2])")
        }
    }
}
