import ArgumentParser
import FlowCore
import Foundation

/// `flowhub import rm`
struct ImportRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Delete imports and their records.",
        discussion: """
            Deletion cannot be undone. On a terminal the command asks for confirmation; elsewhere --yes is required.

            EXAMPLES
              flowhub import rm 6f1c…
              flowhub import ls --status failed --json | jq -r '.imports[].id' | xargs flowhub import rm --yes

            EXIT CODES: 0 all deleted, or not confirmed; 1 the hub rejected one or more (4xx), the others are deleted; 2 \
            invalid usage; 3 hub unreachable or 5xx after all attempts; 130 interrupted.
            """)

    @Argument(help: "The ids of the imports.")
    var ids: [String]

    @OptionGroup var options: HubOptions

    @Flag(name: [.short, .long], help: "Do not ask for confirmation.")
    var yes = false

    func run() async throws {
        var ids: [ImportID] = []
        for text in self.ids {
            let id = try ImportID.argument(text)
            if !ids.contains(id) { ids.append(id) }
        }
        guard try self.yes || Self.isConfirmed(count: ids.count) else {
            Terminal.note("Nothing was deleted.")
            return
        }
        let all = ids
        try await self.options.withClient { client in
            var rejected = 0
            for id in all {
                do {
                    _ = try await client.send(HubClient.Request(method: .delete, target: "/v1/imports/\(id)"))
                    if self.options.json {
                        try Terminal.show(#"{"id":"\#(id)","deleted":true}"#)
                    } else {
                        try Terminal.show("\(id) deleted")
                    }
                } catch let failure as CommandFailure where failure.kind == .rejected || failure.kind == .conditionFailed {
                    rejected += 1
                    Terminal.note("import \(id) was not deleted: \(failure.message)")
                }
            }
            if rejected > 0 {
                throw CommandFailure(
                    .rejected, "\(rejected) of \(all.count) imports could not be deleted. The messages above name them.")
            }
        }
    }

    /// Asks on the terminal whether to delete this many imports.
    /// - Returns: whether the answer is `y` or `yes`.
    /// - Throws: ``CommandFailure`` of kind `usage` without a terminal.
    private static func isConfirmed(count: Int) throws(CommandFailure) -> Bool {
        guard isatty(STDIN_FILENO) == 1, isatty(STDERR_FILENO) == 1 else {
            throw CommandFailure(
                .usage, "The deletion cannot be confirmed: standard input or standard error is not a terminal. Use --yes.")
        }
        let what = count == 1 ? "this import" : "these \(count) imports"
        try? FileHandle.standardError.write(contentsOf: Data("Permanently delete \(what)? [y/N] ".utf8))
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }
}
