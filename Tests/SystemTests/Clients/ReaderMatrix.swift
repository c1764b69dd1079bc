import FlowTestKit
import Testing

/// The clients of the matrix, all running, before one hub. Each case is read by all clients at the same time, when the first of
/// them is asked for.
final class ReaderMatrix: Sendable {
    @TaskLocal fileprivate static var running: ReaderMatrix?

    /// The matrix of the current suite.
    static var current: ReaderMatrix {
        get throws { try #require(Self.running, "the suite has no clients: give it the trait .readers") }
    }

    let hub: HubProcess
    let api: HubAPI
    private let readers: [ReaderClient: any StreamReader]
    private let cases = AsyncValue<[ReaderCase: Task<[ReaderClient: ReaderOutcome], Never>]>([:])

    fileprivate init(_ hub: HubProcess, _ readers: [ReaderClient: any StreamReader]) {
        self.hub = hub
        self.api = hub.api
        self.readers = readers
    }

    /// How a client has read a case.
    func outcome(of client: ReaderClient, in what: ReaderCase) async throws -> ReaderOutcome {
        let task = self.cases.change { cases in
            if let task = cases[what] { return task }
            let task = Task { await self.run(what) }
            cases[what] = task
            return task
        }
        return try #require(await task.value[client])
    }

    private func run(_ what: ReaderCase) async -> [ReaderClient: ReaderOutcome] {
        if what == .largeState {
            let state = HTTPCall(
                "PUT", "/v1/flows/\(ReaderScript.largeFlow)/state", headers: [("Content-Type", "application/json")],
                body: Array(ReaderScript.largeState.utf8))
            // A failure shows in every script.
            _ = try? await self.api.caller.perform(state, within: .seconds(60))
        }
        return await withTaskGroup(of: (ReaderClient, ReaderOutcome).self) { group in
            for (client, reader) in self.readers {
                group.addTask { (client, await ReaderScript(client, reader, what, self).run()) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    /// Time from each of `count` publications to its report, for one client while no other has anything to read.
    func delays(of client: ReaderClient, count: Int) async throws -> [Duration] {
        try await ReaderScript(client, try #require(self.readers[client]), .fresh, self).delays(count)
    }
}

/// A trait that runs a hub and all clients for all tests of a suite.
struct ReaderMatrixTrait: SuiteTrait, TestScoping {
    var isRecursive: Bool { false }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        try await HubProcess.running(["FLOWHUB_RETRY_MS": "100", "FLOWHUB_OPEN_SECONDS": "60"]) { hub in
            try await Chromium.running { browser in
                var readers: [ReaderClient: any StreamReader] = [:]
                do {
                    for client in ReaderClient.allCases { readers[client] = try await Self.start(client, browser) }
                    try await ReaderMatrix.$running.withValue(ReaderMatrix(hub, readers)) { try await function() }
                } catch {
                    for reader in readers.values { await reader.end() }
                    throw error
                }
                for reader in readers.values { await reader.end() }
            }
        }
    }

    private static func start(_ client: ReaderClient, _ browser: Chromium) async throws -> any StreamReader {
        switch client.program {
        case .python(let module): try await ReaderProcess([TestTools.program("python"), "-m", "readers", module])
        case .node: try await ReaderProcess(["node", Repository.path("Tests/SystemTests/Clients/readers/fetch.mjs")])
        case .chromium: ChromiumReader(browser)
        }
    }
}

extension Trait where Self == ReaderMatrixTrait {
    static var readers: Self { ReaderMatrixTrait() }
}
