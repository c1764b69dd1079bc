import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import rm`
struct ImportRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Take imports away, with all their records.",
        discussion: """
            There is no way back. On a terminal you are asked first; elsewhere give --yes.

            EXAMPLES
              flowhub import rm 6f1c…
              flowhub import ls --status failed --json | jq -r '.imports[].id' | xargs flowhub import rm --yes

            EXIT CODES: 0 all are gone; 1 the hub said no (4xx) to one or more, the others are gone; 2 wrong usage; 3 the hub could \
            not be reached or failed (5xx) after all attempts; 130 interrupted.
            """)

    @Argument(help: "The imports.")
    var ids: [String]

    @OptionGroup var options: HubOptions

    @Flag(name: [.short, .long], help: "Do not ask.")
    var yes = false

    func run() async throws {
        var ids: [ImportID] = []
        for text in self.ids {
            let id = try ImportID.argument(text)
            if !ids.contains(id) { ids.append(id) }
        }
        guard try self.yes || Self.agrees(count: ids.count) else {
            Terminal.say("Nothing was taken away.")
            return
        }
        let all = ids
        try await self.options.withClient { client in
            var refused = 0
            for id in all {
                do {
                    _ = try await client.send(HubClient.Request(method: .delete, target: "/v1/imports/\(id)"))
                    if self.options.json {
                        try Terminal.show(#"{"id":"\#(id)","deleted":true}"#)
                    } else {
                        try Terminal.show("\(id) is gone")
                    }
                } catch let failure as CommandFailure where failure.kind == .refused || failure.kind == .conditionFailed {
                    refused += 1
                    Terminal.say("\(id): \(failure.message)")
                }
            }
            if refused > 0 {
                throw CommandFailure(.refused, "\(refused) of \(all.count) were not taken away.")
            }
        }
    }

    private static func agrees(count: Int) throws(CommandFailure) -> Bool {
        guard isatty(STDIN_FILENO) == 1, isatty(STDERR_FILENO) == 1 else {
            throw CommandFailure(.usage, "There is nobody to ask whether to take them away for good. Give --yes.")
        }
        let what = count == 1 ? "this import" : "these \(count) imports"
        try? FileHandle.standardError.write(contentsOf: Data("Take \(what) away for good? [y/N] ".utf8))
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }
}
