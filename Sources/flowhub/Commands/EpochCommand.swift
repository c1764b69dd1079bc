import ArgumentParser
import FlowCore
import FlowEmbedded
import Foundation
import Logging

/// `flowhub epoch`
struct EpochCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epoch",
        abstract: "Show or raise the name of the store's history.",
        discussion: """
            Raise the epoch after the store was restored to an older copy: every client is then told that its place is lost and \
            gets a snapshot, and no version means two things. It may be done while the hub runs.

            EXAMPLES
              flowhub epoch show
              flowhub epoch bump --data /var/lib/flowhub

            EXIT CODES: 0 done; 1 the store cannot be opened; 2 wrong usage.
            """,
        subcommands: [Show.self, Bump.self], defaultSubcommand: Show.self)

    struct Location: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Folder of the embedded store. (environment: FLOWHUB_DATA; default: ./flowhub-data)", valueName: "dir"))
        var data: String?

        func open() throws -> SQLiteFlowStore {
            let directory = self.data ?? HubOptions.environment("FLOWHUB_DATA") ?? HubConfiguration().dataDirectory
            guard FileManager.default.fileExists(atPath: directory) else {
                throw CommandFailure(.refused, "There is no store in \(directory). Name its folder with --data.")
            }
            do {
                let logger = Logger(label: "flowhub") { _ in LineLogHandler(logLevel: .warning, format: .text) }
                return try SQLiteFlowStore(directory: directory, now: SystemClock.now(), logger: logger)
            } catch {
                throw CommandFailure(.refused, "The store in \(directory) cannot be opened. \(error)")
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Print the epoch.")
        @OptionGroup var location: Location

        func run() async throws {
            let store = try self.location.open()
            print(store.epoch)
            await store.close()
        }
    }

    struct Bump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "bump", abstract: "Raise the epoch and print it.")
        @OptionGroup var location: Location

        func run() async throws {
            let store = try self.location.open()
            do {
                print(try await store.raiseEpoch(from: store.epoch, now: SystemClock.now()))
            } catch {
                await store.close()
                throw CommandFailure(.refused, "The epoch could not be raised. \(error)")
            }
            await store.close()
        }
    }
}
