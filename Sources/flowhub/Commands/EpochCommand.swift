import ArgumentParser
import FlowCore

/// `flowhub epoch`
struct EpochCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "epoch",
        abstract: "Show the store's epoch, or raise it after a restore.",
        discussion: """
            The epoch identifies one history of the store. Raise it after the store was restored from an older copy: every \
            subscriber then gets a resync and a snapshot, and a version cannot stand for two different events. The hub may run \
            meanwhile. The store is the Postgres database of DATABASE_URL, or the directory of the embedded store.

            EXAMPLES
              flowhub epoch show
              flowhub epoch bump --data /var/lib/flowhub
              DATABASE_URL=postgres://hub@db/hub flowhub epoch bump

            EXIT CODES: 0 success; 1 the store cannot be opened or changed; 2 invalid usage.
            """,
        subcommands: [Show.self, Bump.self], defaultSubcommand: Show.self)

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "show", abstract: "Print the store's epoch.")
        @OptionGroup var location: StoreLocation

        func run() async throws {
            let store = try await self.location.open()
            print(store.flows.epoch)
            await store.close()
        }
    }

    struct Bump: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "bump", abstract: "Raise the store's epoch, so that all subscribers get a new snapshot, and print it.")
        @OptionGroup var location: StoreLocation

        func run() async throws {
            let store = try await self.location.open()
            do {
                print(try await store.flows.raiseEpoch(from: store.flows.epoch, now: SystemClock.now()))
            } catch {
                await store.close()
                throw CommandFailure(.rejected, "Cannot raise the store's epoch: \(error)")
            }
            await store.close()
        }
    }
}
