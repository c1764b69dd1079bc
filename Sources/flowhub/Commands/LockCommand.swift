import ArgumentParser
import FlowCore

/// `flowhub lock`
struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock",
        abstract: "Run a program while holding a lock.",
        usage: "flowhub lock [<options>] <resource> -- <program> [<arguments> …]",
        discussion: """
            Acquires the lock, runs the program, and releases the lock when the program has ended. Meanwhile the lock is \
            renewed at a third of --ttl; if the hub is unavailable, renewal is retried until the lock expires. If the lock \
            expires or the hub rejects a renewal, the program gets SIGTERM, and SIGKILL after --grace.

            The program inherits standard input, output and error. SIGINT, SIGTERM, SIGHUP and SIGQUIT are forwarded to it. \
            Without a terminal, the program has its own process group and signals go to the whole group. Its environment \
            contains FLOWHUB_LOCK_RESOURCE, FLOWHUB_LOCK_ID and FLOWHUB_FENCING_TOKEN.

            A lock prevents duplicate work; it does not make writes safe: a suspended program may resume after its lock has \
            expired. Send the fencing token with each write, and the hub rejects the write after a newer holder has written.

            If the hub requires tokens, the token needs the scope locks.

            EXAMPLES
              flowhub lock nightly-import -- ./import.sh
              flowhub lock report --wait 600 --ttl 60 -- make report
              flowhub lock import -- sh -c 'curl -X PATCH -H "Fencing-Token: import=$FLOWHUB_FENCING_TOKEN" …'

            EXIT CODES: the program's own, or 128 + the signal that ended it. Else: 1 rejected by the hub (4xx); 2 invalid \
            usage; 3 hub unreachable or 5xx; 4 the lock is held by another client; 5 the lock was lost and the program was \
            ended; 126 the program cannot be run; 127 program not found; 128 + a signal that was received before the program \
            ran.
            """)

    @Argument(help: "The name of the lock: 1 to 128 characters of A-Za-z0-9_.:-")
    var resource: String

    @Argument(parsing: .postTerminator, help: "The program to run, and its arguments.")
    var program: [String] = []

    @OptionGroup var hub: HubAddress

    @Option(help: ArgumentHelp("Time until the lock expires if it is not renewed.", valueName: "seconds"))
    var ttl = 30

    @Option(help: ArgumentHelp("Maximum time to wait while another client holds the lock.", valueName: "seconds"))
    var wait = 0

    @Option(help: ArgumentHelp("Time between SIGTERM and SIGKILL if the lock is lost.", valueName: "seconds"))
    var grace = 10

    func run() async throws {
        guard Identifier.isValid(self.resource.utf8, maximumLength: 128) else {
            throw CommandFailure(
                .usage, "Invalid lock name \"\(Terminal.sanitized(self.resource))\". Use 1 to 128 characters of A-Za-z0-9_.:-")
        }
        guard self.program.first?.isEmpty == false else {
            throw CommandFailure(.usage, "Missing program. Usage: flowhub lock \(self.resource) -- PROGRAM [ARGUMENTS]")
        }
        guard (1...3_600).contains(self.ttl) else {
            throw CommandFailure(.usage, "--ttl must be from 1 to 3600 seconds, not \(self.ttl).")
        }
        guard (0...604_800).contains(self.wait) else {
            throw CommandFailure(.usage, "--wait must be from 0 to 604800 seconds, not \(self.wait).")
        }
        guard (0...3_600).contains(self.grace) else {
            throw CommandFailure(.usage, "--grace must be from 0 to 3600 seconds, not \(self.grace).")
        }
        // The program inherits only the descriptors that are open now, not those that this command opens later.
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
