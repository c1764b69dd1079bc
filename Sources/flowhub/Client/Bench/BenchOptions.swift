import ArgumentParser
import FlowCore
import Foundation

/// Options of both benchmarks.
struct BenchOptions: ParsableArguments {
    @OptionGroup var hub: HubOptions

    @Option(help: ArgumentHelp("Payload bytes of each published event or state change.", valueName: "n"))
    var size = 200

    @Option(help: ArgumentHelp("Seconds to measure.", valueName: "s"))
    var duration = 10

    @Option(help: ArgumentHelp("Seconds of load before the measurement.", valueName: "s"))
    var warmup = 2

    @Option(
        help: ArgumentHelp(
            "Process id of the hub, on this machine; its CPU time and memory are then measured too.", valueName: "pid"))
    var serverPid: Int?

    @Option(
        help: ArgumentHelp("Prefix of the flow ids. (default: bench- and a random number)", valueName: "prefix"))
    var prefix: String?

    @Flag(help: "Keep the created flows instead of deleting them.")
    var keep = false

    @Flag(help: "Allow a hub on another machine. Use it only if you may put load on that machine and on the network.")
    var allowRemote = false

    /// Checks the options. `other`: URL of another instance of the hub (`--publish-url`), used instead of `--url`.
    /// - Throws: ``CommandFailure`` of kind `usage` if an option is invalid.
    func target(at other: String? = nil) throws(CommandFailure) -> BenchTarget {
        let url: HubURL
        if let other { url = try HubURL(other) } else { url = try self.hub.hub() }
        guard !url.isSecure else {
            throw CommandFailure(.usage, "bench supports http:// only. Use the hub's own port, not that of a proxy.")
        }
        guard url.isLoopback || self.allowRemote else {
            throw CommandFailure(
                .usage,
                "The hub \(Terminal.sanitized(url.host)) is on another machine. Use --allow-remote if you may put load on it.")
        }
        try Self.check(self.size, 64...65_536, "--size")
        try Self.check(self.duration, 1...600, "--duration")
        try Self.check(self.warmup, 0...60, "--warmup")
        let prefix = self.prefix ?? "bench-\(UInt32.random(in: 0 ... .max))-"
        guard prefix.utf8.count <= 100, FlowID(prefix + "0") != nil else {
            throw CommandFailure(.usage, "--prefix must be at most 100 characters of A-Za-z0-9_.:-")
        }
        if let pid = self.serverPid, ProcessUsage(of: "\(pid)") == nil {
            throw CommandFailure(.usage, "Cannot read the CPU time of process \(pid). Check --server-pid.")
        }
        return BenchTarget(
            hub: url, authorization: try self.hub.authorization(), prefix: prefix, serverProcess: self.serverPid.map { "\($0)" },
            payloadBytes: self.size, warmup: self.warmup, duration: self.duration)
    }

    /// Checks that the value of an option is in its range.
    /// - Throws: ``CommandFailure`` of kind `usage` if it is not.
    static func check(_ value: Int, _ range: ClosedRange<Int>, _ option: String) throws(CommandFailure) {
        guard range.contains(value) else {
            throw CommandFailure(.usage, "\(option) must be from \(range.lowerBound) to \(range.upperBound), not \(value).")
        }
    }

    /// Deletes the flows that a run has created, unless `--keep` is set. A failure is only reported, and a rejection by the hub
    /// is ignored.
    func cleanUp(_ target: BenchTarget, flows: Int) async {
        if self.keep { return }
        do {
            try await self.hub.withClient { client in
                for flow in 0..<flows {
                    _ = try await client.send(.init(method: .delete, target: "/v1/flows/\(target.prefix)\(flow)/state"))
                }
            }
        } catch let failure as CommandFailure where failure.kind == .rejected {
        } catch {
            Terminal.note("Cannot delete the flows \(target.prefix)… that the benchmark created: \(error)")
        }
    }
}

/// The hub that a benchmark measures, and the parameters of its load.
struct BenchTarget: Sendable {
    var hub: HubURL
    let authorization: String?
    let prefix: String
    /// The hub's process id as in `/proc`; `nil`: not measured.
    let serverProcess: String?
    let payloadBytes: Int
    /// Seconds of load before the measurement.
    let warmup: Int
    /// Seconds to measure.
    let duration: Int

    /// The id of the flow with this number, counted from 0.
    func flow(_ index: Int) -> String { "\(self.prefix)\(index)" }

    /// CPU time and memory of the hub's process now; `nil` without `--server-pid`, or if the process has ended.
    func server() -> ProcessUsage? { self.serverProcess.flatMap { ProcessUsage(of: $0) } }

    /// A payload of the configured size: the time stamp of this time, then filler.
    func payload(nanoseconds: UInt64) -> String { StampScanner.stamp(nanoseconds: nanoseconds) + self.filler }

    private var filler: String { String(repeating: "a", count: max(0, self.payloadBytes - StampScanner.digits - 4)) }

    /// The host to connect to. `localhost` becomes `127.0.0.1`, independent of the resolver.
    var host: String { self.hub.host.lowercased() == "localhost" ? "127.0.0.1" : self.hub.host }
}
