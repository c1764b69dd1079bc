import ArgumentParser

/// `flowhub bench`
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Put load on a hub and measure it.",
        discussion: """
            stream (the default) measures deliveries to many subscribers, updates measures durable changes of state. It puts \
            as much load on the hub as the options say, so it takes only addresses of this machine unless told otherwise.

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
        abstract: "Measure deliveries to many subscribers.",
        discussion: """
            A delivery is one event that one subscriber has read; its latency is counted from just before its publication was \
            sent. With --window W publications are in flight at any time, and one is done when all subscribers of its flow have \
            read it: this finds the throughput. With --rate N there are N a second whatever happens: this finds the latency. \
            Transient events may be conflated by the hub under pressure; deliveries lost in this way are counted as lost.

            EXAMPLES
              flowhub bench --subscribers 5000 --window 16 --duration 10 --server-pid 4711
              flowhub bench stream --rate 20 --durable --json
              flowhub bench stream --rate 50 --durable --url http://127.0.0.1:8081 --publish-url http://127.0.0.1:8080

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Event streams to open.", valueName: "n"))
    var subscribers = 1000

    @Option(help: ArgumentHelp("Flows that they are spread over.", valueName: "n"))
    var flows = 1

    @Option(help: ArgumentHelp("Connections that publish.", valueName: "n"))
    var publishers = 1

    @Option(help: ArgumentHelp("Publications in flight.", valueName: "w"))
    var window = 1

    @Option(help: ArgumentHelp("Publications a second, instead of --window.", valueName: "n"))
    var rate: Int?

    @Flag(help: "Publish durable events instead of transient ones.")
    var durable = false

    @Option(
        help: ArgumentHelp("Publish at another instance of the same hub than the subscribers are with.", valueName: "url"))
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
        abstract: "Measure durable changes of state.",
        discussion: """
            Each publisher has its connection and changes its flow's state again as soon as the last change is acknowledged.

            EXAMPLES
              flowhub bench updates --publishers 64 --duration 10
              flowhub bench updates --publishers 16 --flows 1 --json
              flowhub bench updates --publishers 64 --flows 1000

            \(CommandFailure.exitCodes)
            """)

    @OptionGroup var options: BenchOptions

    @Option(help: ArgumentHelp("Connections that change something at once.", valueName: "n"))
    var publishers = 16

    @Option(help: ArgumentHelp("Flows that they share. (default: one each)", valueName: "n"))
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

/// What both benchmarks do before and after.
enum BenchSetup {
    static func needFiles(_ sockets: Int) throws(CommandFailure) {
        let limit = FileLimit.raise()
        guard limit >= UInt64(sockets) + 64 else {
            throw CommandFailure(
                .usage, "This process may open \(limit) files and needs \(sockets + 64). Raise it with ulimit -n.")
        }
    }

    static func show(_ report: BenchReport, json: Bool) throws(OutputClosed) {
        try Terminal.show(json ? report.json : report.text(Palette(isOn: Terminal.isColourful)))
    }
}
