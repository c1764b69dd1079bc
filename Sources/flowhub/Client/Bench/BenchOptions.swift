import ArgumentParser
import FlowCore
import Foundation

/// What both benchmarks take.
struct BenchOptions: ParsableArguments {
    @OptionGroup var hub: HubOptions

    @Option(help: ArgumentHelp("Bytes of each event's or change's payload.", valueName: "n"))
    var size = 200

    @Option(help: ArgumentHelp("Seconds that are measured.", valueName: "s"))
    var duration = 10

    @Option(help: ArgumentHelp("Seconds before that.", valueName: "s"))
    var warmup = 2

    @Option(help: ArgumentHelp("Measure this process, which must be the hub, on this machine.", valueName: "pid"))
    var serverPid: Int?

    @Option(
        help: ArgumentHelp("What the names of the flows begin with. (default: bench- and a random number)", valueName: "prefix"))
    var prefix: String?

    @Flag(help: "Leave the flows that were made, instead of deleting them.")
    var keep = false

    @Flag(help: "Allow a hub on another machine. Only where you may put load on it and on the network between.")
    var allowRemote = false

    func target(at other: String? = nil) throws(CommandFailure) -> BenchTarget {
        let url: HubURL
        if let other { url = try HubURL(other) } else { url = try self.hub.hub() }
        guard !url.isSecure else {
            throw CommandFailure(.usage, "bench measures http:// only. Take the hub's own port, not a proxy's.")
        }
        guard url.isLoopback || self.allowRemote else {
            throw CommandFailure(
                .usage, "\(Terminal.harmless(url.host)) is another machine. --allow-remote if you may put load on it.")
        }
        try Self.check(self.size, 64...65_536, "--size")
        try Self.check(self.duration, 1...600, "--duration")
        try Self.check(self.warmup, 0...60, "--warmup")
        let prefix = self.prefix ?? "bench-\(UInt32.random(in: 0 ... .max))-"
        guard prefix.utf8.count <= 100, FlowID(prefix + "0") != nil else {
            throw CommandFailure(.usage, "--prefix takes up to 100 of A-Za-z0-9_.:-")
        }
        if let pid = self.serverPid, ProcessUsage(of: "\(pid)") == nil {
            throw CommandFailure(.usage, "There is no process \(pid) here, or it may not be looked at.")
        }
        return BenchTarget(
            hub: url, authorization: try self.hub.authorization(), prefix: prefix, serverProcess: self.serverPid.map { "\($0)" },
            payloadBytes: self.size, warmup: self.warmup, duration: self.duration)
    }

    static func check(_ value: Int, _ range: ClosedRange<Int>, _ option: String) throws(CommandFailure) {
        guard range.contains(value) else {
            throw CommandFailure(.usage, "\(option) takes \(range.lowerBound) to \(range.upperBound).")
        }
    }

    /// Deletes the flows that a run has made in the store. That it did not work is said and is no failure.
    func cleanUp(_ target: BenchTarget, flows: Int) async {
        if self.keep { return }
        do {
            try await self.hub.withClient { client in
                for flow in 0..<flows {
                    _ = try await client.send(.init(method: .delete, target: "/v1/flows/\(target.prefix)\(flow)/state"))
                }
            }
        } catch let failure as CommandFailure where failure.kind == .refused {
        } catch {
            Terminal.say("The flows \(target.prefix)… were not deleted: \(error)")
        }
    }
}

/// Where a benchmark goes and what it sends.
struct BenchTarget: Sendable {
    var hub: HubURL
    let authorization: String?
    let prefix: String
    /// Of `/proc`.
    let serverProcess: String?
    let payloadBytes: Int
    let warmup: Int
    let duration: Int

    func flow(_ index: Int) -> String { "\(self.prefix)\(index)" }

    func server() -> ProcessUsage? { self.serverProcess.flatMap { ProcessUsage(of: $0) } }

    /// A stamp and letters up to the size.
    func payload(nanoseconds: UInt64) -> String { StampScanner.stamp(nanoseconds: nanoseconds) + self.filler }

    private var filler: String { String(repeating: "a", count: max(0, self.payloadBytes - StampScanner.digits - 4)) }

    /// An address as NIO takes it: `localhost` is the same machine whatever the resolver says.
    var host: String { self.hub.host.lowercased() == "localhost" ? "127.0.0.1" : self.hub.host }
}
