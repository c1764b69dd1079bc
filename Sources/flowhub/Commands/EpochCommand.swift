import ArgumentParser
import FlowCore

/// `flowhub epoch`
struct EpochCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epoch",
        abstract: "Show or raise the name of the store's history.",
        discussion: """
            Raise the epoch after the store was restored to an older copy: every client is then told that its place is lost and \
            gets a snapshot, and no version means two things. It may be done while the hub runs. The store is the Postgres \
            database that DATABASE_URL names, or the folder of the embedded one.

            EXAMPLES
              flowhub epoch show
              flowhub epoch bump --data /var/lib/flowhub
              DATABASE_URL=postgres://hub@db/hub flowhub epoch bump

            EXIT CODES: 0 done; 1 the store cannot be opened; 2 wrong usage.
            """,
        subcommands: [Show.self, Bump.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Print the epoch.")
        @OptionGroup var location: StoreLocation

        func run() async throws {
            let store = try await self.location.open()
            print(store.flows.epoch)
            await store.close()
        }
    }

    struct Bump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "bump", abstract: "Raise the epoch and print it.")
        @OptionGroup var location: StoreLocation

        func run() async throws {
            let store = try await self.location.open()
            do {
                print(try await store.flows.raiseEpoch(from: store.flows.epoch, now: SystemClock.now()))
            } catch {
                await store.close()
                throw CommandFailure(.refused, "The epoch could not be raised. \(error)")
            }
            await store.close()
        }
    }
}
