import ArgumentParser

/// `flowhub bench`
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure the throughput and latency of a hub under load.",
        discussion: """
            stream (the default) measures deliveries to many subscribers. updates measures durable state changes. The load can \
            saturate the hub, so without --allow-remote only a hub on this machine is accepted.

            EXAMPLES
              flowhub bench --subscribers 5000 --window 16 --server-pid "$(pgrep -x flowhub)"
              flowhub bench --rate 50 --flows 100 --durable --json
              flowhub bench updates --publishers 64

            \(CommandFailure.exitCodes)
            """,
        subcommands: [BenchStreamCommand.self, BenchUpdatesCommand.self],
        defaultSubcommand: BenchStreamCommand.self)
}

/// `flowhub bench stream`
struct BenchStreamCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Measure how fast a hub delivers events to many subscribers.",
        discussion: """
            A delivery is one event read by one subscriber. Its latency is the time from just before the publication is sent \
            until the subscriber has read the event.

            --window W keeps W publications in flight; a publication is done when all subscribers of its flow have read it. \
            This closed loop finds the throughput. --rate N sends N publications per second, independent of deliveries. This \
            open loop finds the latency. Under pressure the hub may conflate transient events; such deliveries count as lost.

            EXAMPLES
              flowhub bench --subscribers 5000 --window 16 --duration 10 --server-pid 4711
              flowhub bench stream --rate 20 --durable --json
              flowhub bench stream --rate 50 --durable --url http://127.0.0.1:8081 --publish-url http://127.0.0.1:8080

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Number of event streams to open.", valueName: "n"))
    var subscribers = 1000

    @Option(help: ArgumentHelp("Number of flows that the subscribers are spread over.", valueName: "n"))
    var flows = 1

    @Option(help: ArgumentHelp("Number of connections that publish.", valueName: "n"))
    var publishers = 1

    @Option(help: ArgumentHelp("Number of publications in flight (closed loop).", valueName: "w"))
    var window = 1

    @Option(help: ArgumentHelp("Publications per second (open loop), instead of --window.", valueName: "n"))
    var rate: Int?

    @Flag(help: "Publish durable events instead of transient ones.")
    var durable = false

    @Option(
        help: ArgumentHelp("Publish through this instance instead of --url. It must belong to the same hub.", valueName: "url"))
    var publishUrl: String?

    func run() async throws {
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        let target = try self.options.target()
        try BenchOptions.check(self.subscribers, 1...25_000, "--subscribers")
        try BenchOptions.check(self.flows, 1...self.subscribers, "--flows")
        try BenchOptions.check(self.publishers, 1...256, "--publishers")
        try BenchOptions.check(self.window, 1...4096, "--window")
        if let rate = self.rate { try BenchOptions.check(rate, 1...100_000, "--rate") }
        try BenchSetup.needFiles(self.subscribers + self.publishers)
        var publishing = target
        if let url = self.publishUrl { publishing.hub = try self.options.target(at: url).hub }
        let plan = StreamBench.Plan(
            target: target, publishing: publishing, subscribers: self.subscribers, flows: self.flows, publishers: self.publishers,
            window: self.window,
            rate: self.rate, isDurable: self.durable)
        let result: Result<BenchReport, any Error>
        do { result = .success(try await StreamBench.run(plan)) } catch { result = .failure(error) }
        if self.durable { await self.options.cleanUp(target, flows: self.flows) }
        try BenchSetup.show(try result.get(), json: self.options.hub.json)
    }
}

/// `flowhub bench updates`
struct BenchUpdatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "updates",
        abstract: "Measure how fast a hub stores state changes.",
        discussion: """
            Each publisher has one connection and sends its next change as soon as the previous one is acknowledged. With \
            more flows than publishers, each change goes to a random flow; otherwise each publisher changes one flow.

            EXAMPLES
              flowhub bench updates --publishers 64 --duration 10
              flowhub bench updates --publishers 16 --flows 1 --json
              flowhub bench updates --publishers 64 --flows 1000

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Number of connections, each with one change in flight.", valueName: "n"))
    var publishers = 16

    @Option(help: ArgumentHelp("Number of flows to change. (default: one per publisher)", valueName: "n"))
    var flows: Int?

    func run() async throws {
        let interrupt = CommandRunner.exitOnInterrupt()
        defer { interrupt.end() }
        let target = try self.options.target()
        try BenchOptions.check(self.publishers, 1...4096, "--publishers")
        let flows = self.flows ?? self.publishers
        try BenchOptions.check(flows, 1...100_000, "--flows")
        try BenchSetup.needFiles(self.publishers)
        let result: Result<BenchReport, any Error>
        do {
            result = .success(try await UpdateBench.run(.init(target: target, publishers: self.publishers, flows: flows)))
        } catch {
            result = .failure(error)
        }
        await self.options.cleanUp(target, flows: flows)
        try BenchSetup.show(try result.get(), json: self.options.hub.json)
    }
}

/// Steps that both benchmark commands share: checking the limit of open files, and printing the report.
enum BenchSetup {
    /// Raises the limit of open files, and checks that it suffices for this many sockets and 64 other files.
    /// - Throws: ``CommandFailure`` of kind `usage` if it does not suffice.
    static func needFiles(_ sockets: Int) throws(CommandFailure) {
        let limit = FileLimit.raise()
        guard limit >= UInt64(sockets) + 64 else {
            throw CommandFailure(
                .usage, "The limit of open files is \(limit); this benchmark needs \(sockets + 64). Raise it with ulimit -n.")
        }
    }

    /// Prints the report on standard output, as JSON or as a table.
    static func show(_ report: BenchReport, json: Bool) throws(OutputClosed) {
        try Terminal.show(json ? report.json : report.text(Palette(isOn: Terminal.isColorful)))
    }
}
