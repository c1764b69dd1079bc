import ArgumentParser
import FlowCore

/// `flowhub lock`
struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock",
        abstract: "Run a program while holding a lock.",
        usage: "flowhub lock [<options>] <resource> -- <program> [<arguments> …]",
        discussion: """
            Takes the hub's lock of this name, runs the program, and lets go of the lock when it has ended. Meanwhile the lock is \
            renewed at a third of its time; where the hub is away, again and again. When a renewal is refused or the lock's time \
            is up, the program gets SIGTERM, and SIGKILL after --grace.

            The program has this command's standard input, output and error. SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to \
            it: to its whole process group where there is no terminal, which is then its own. In its environment are \
            FLOWHUB_LOCK_RESOURCE, FLOWHUB_LOCK_ID and FLOWHUB_FENCING_TOKEN. A lock saves double work and does not make it safe: \
            a program that was paused may wake up without it. Send the fencing token with what is written, and the hub refuses it \
            after a younger holder has written.

            A hub with keys wants a token with the scope locks.

            EXAMPLES
              flowhub lock nightly-import -- ./import.sh
              flowhub lock report --wait 600 --ttl 60 -- make report
              flowhub lock import -- sh -c 'curl -X PATCH -H "Fencing-Token: import=$FLOWHUB_FENCING_TOKEN" …'

            EXIT CODES: the program's own, or 128 + the signal that ended it. Without it: 1 the hub said no (4xx); 2 wrong usage; \
            3 the hub could not be reached or failed (5xx); 4 somebody else holds the lock; 5 the lock was lost and the program \
            was ended; 126 the program cannot be run; 127 it is not there; 128 + a signal that came before it ran.
            """)

    @Argument(help: "The name of what is locked: 1 to 128 of A-Za-z0-9_.:-")
    var resource: String

    @Argument(parsing: .postTerminator, help: "The program to run, and its arguments.")
    var program: [String] = []

    @OptionGroup var hub: HubAddress

    @Option(help: ArgumentHelp("How long the lock lasts without being renewed.", valueName: "seconds"))
    var ttl = 30

    @Option(help: ArgumentHelp("How long to wait for a lock that somebody holds.", valueName: "seconds"))
    var wait = 0

    @Option(help: ArgumentHelp("How long the program may take to end when the lock is lost.", valueName: "seconds"))
    var grace = 10

    func run() async throws {
        guard Identifier.isValid(self.resource.utf8, maximumLength: 128) else {
            throw CommandFailure(
                .usage, "\"\(Terminal.harmless(self.resource))\" is no name of a lock: take 1 to 128 of A-Za-z0-9_.:-")
        }
        guard self.program.first?.isEmpty == false else {
            throw CommandFailure(.usage, "What is to run? flowhub lock \(self.resource) -- PROGRAM [ARGUMENTS]")
        }
        guard (1...3_600).contains(self.ttl) else { throw CommandFailure(.usage, "--ttl takes 1 to 3600.") }
        guard (0...604_800).contains(self.wait) else { throw CommandFailure(.usage, "--wait takes 0 to 604800.") }
        guard (0...3_600).contains(self.grace) else { throw CommandFailure(.usage, "--grace takes 0 to 3600.") }
        // Before anything of ours is open.
        let files = ChildProgram.openFiles()
        throw try await self.hub.withClient { client in
            try await LockedRun(
                locks: LockClient(client: client, resource: self.resource, ttl: self.ttl),
                command: ProcessText.arguments(self.program),
                wait: .seconds(self.wait), grace: .seconds(self.grace), files: files
            ).run()
        }
    }
}
