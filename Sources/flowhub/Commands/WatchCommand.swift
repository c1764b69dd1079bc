import ArgumentParser
import FlowCore
import Foundation

/// `flowhub watch`
struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Follow flows live.",
        discussion: """
            Shows the state of each flow and then every change and event as it happens. A lost connection is made again, and \
            goes on where the last one stopped: nothing is missed and nothing comes twice. What happens to the connection is \
            said on standard error, and so is the cursor at the end, with which a later --from goes on.

            Ends by itself when every flow has finished (the hub waits 10 s for late events; --until-finished does not).

            EXAMPLES
              flowhub watch import-42
              flowhub watch import-42 import-43 --types row_failed,state_update
              flowhub watch import-42 --json | jq -c 'select(.event == "state_update") | .data.updates'
              flowhub watch import-42 --until-finished && echo imported
              flowhub watch import-42 --from start --no-snapshot

            \(CommandFailure.exitCodes)
            With --until-finished: 0 if every flow completed, 1 if one failed, was cancelled or deleted.
            """)

    @Argument(help: "The flows, up to 12.")
    var flow: [String]

    @OptionGroup var options: HubOptions

    @Option(help: ArgumentHelp("Begin after this cursor, or with the oldest event that is kept: start.", valueName: "cursor"))
    var from: String?

    @Option(help: ArgumentHelp("Only these types of events, besides the hub's own about the stream.", valueName: "a,b"))
    var types: String?

    @Flag(help: "Begin without the state.")
    var noSnapshot = false

    @Flag(help: "Show how many watch each flow.")
    var presence = false

    @Flag(help: "End as soon as every flow is completed, failed, cancelled or deleted.")
    var untilFinished = false

    @Option(help: ArgumentHelp("Seconds without a connection after which to give up; 0: never.", valueName: "s"))
    var giveUp = 120

    /// What a stream of the hub takes.
    static let maximumFlows = 12

    func run() async throws {
        let flows = try self.flows()
        let target = try self.target(flows)
        let cursor = try self.cursor()
        guard self.giveUp >= 0 else { throw CommandFailure(.usage, "--give-up takes 0 or more seconds.") }
        try await self.options.withClient { client in
            var watcher = Watcher(
                client: client, flows: flows, target: target, cursor: cursor, endsWhenFinished: self.untilFinished,
                giveUpAfter: self.giveUp)
            let palette = Palette(isOn: Terminal.isColourful && !self.options.json)
            var printer = EventPrinter(
                json: self.options.json, palette: palette, namesFlow: flows.count > 1,
                width: palette.isOn ? Terminal.width : nil)
            let ending = try await watcher.run { notice in
                switch notice {
                case .connected(let cursor):
                    Terminal.say(
                        "connected to \(client.hub.host)\(cursor.isEmpty ? "" : ", going on after \(Terminal.harmless(cursor))")")
                case .lost(let reason, let milliseconds):
                    Terminal.say("\(reason); next attempt in \(Double(milliseconds / 100) / 10) s")
                case .event(let event):
                    let text = printer.text(of: event, now: Self.now())
                    if !text.isEmpty { try Terminal.show(Array(text.utf8)) }
                }
            }
            try await self.conclude(ending, &watcher)
        }
    }

    /// Says how it ended, and fails where that is bad news.
    private func conclude(_ ending: Watcher.Ending, _ watcher: inout Watcher) async throws {
        if watcher.endings.lostAccess {
            throw CommandFailure(.refused, "The hub closed the stream: the token has ended or was revoked. Get a new one.")
        }
        if self.untilFinished { try await watcher.learnStatuses() }
        let statuses = watcher.endings.flows.compactMap { flow in
            watcher.endings.statuses[flow].map { "\(flow) \(Terminal.harmless($0.rawValue))" }
        }
        var words = statuses.isEmpty ? "nothing more to come" : statuses.joined(separator: ", ")
        if !watcher.cursor.isEmpty { words += "; cursor \(Terminal.harmless(watcher.cursor))" }
        Terminal.say("ended: \(words)")
        guard self.untilFinished else { return }
        if watcher.endings.flows.contains(where: { watcher.endings.statuses[$0]?.rawValue != "completed" }) { throw ExitCode(1) }
    }

    private func flows() throws(CommandFailure) -> [FlowID] {
        var flows: [FlowID] = []
        for text in self.flow {
            let flow = try FlowID.argument(text)
            if !flows.contains(flow) { flows.append(flow) }
        }
        guard flows.count <= Self.maximumFlows else {
            throw CommandFailure(.usage, "One stream takes up to \(Self.maximumFlows) flows. Start another watch for the rest.")
        }
        return flows
    }

    private func target(_ flows: [FlowID]) throws(CommandFailure) -> String {
        var query = flows.count == 1 ? [] : flows.map { "flow=\($0)" }
        if let types = self.types {
            var names: [String] = []
            for name in types.split(separator: ",") {
                guard let type = EventType(name) else {
                    throw CommandFailure(
                        .usage, "\"\(Terminal.harmless(name))\" is no type of events: take 1 to 64 of A-Za-z0-9_.:-")
                }
                names.append(type.rawValue)
            }
            guard !names.isEmpty else { throw CommandFailure(.usage, "--types names no type.") }
            query.append("types=\(names.joined(separator: ","))")
        }
        if self.noSnapshot { query.append("snapshot=0") }
        if self.presence { query.append("presence=1") }
        let path = flows.count == 1 ? "/v1/flows/\(flows[0])/events" : "/v1/events"
        return path + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
    }

    private func cursor() throws(CommandFailure) -> String {
        guard let from = self.from else { return "" }
        if from == "start" { return "0" }
        guard (1...128).contains(from.utf8.count), from.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw CommandFailure(.usage, "--from takes start or a cursor: the id of an event, as watch tells it at its end.")
        }
        return from
    }

    private static func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}
