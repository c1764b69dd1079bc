import ArgumentParser
import FlowCore
import Foundation

/// `flowhub watch`
struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Print the state and events of flows, live.",
        discussion: """
            Prints the state of each flow, then each change and event as it happens. After a lost connection, watch \
            reconnects and continues at its cursor: no durable event is lost or repeated. If history no longer holds the \
            events after the cursor, the hub sends resync and a snapshot instead. Messages about the connection go to \
            standard error, and at the end the cursor for a later --from.

            Exits when all flows are terminal: their streams stay open for late events, 10 s by default. --until-finished \
            exits without that wait.

            EXAMPLES
              flowhub watch import-42
              flowhub watch import-42 import-43 --types row_failed,state_update
              flowhub watch import-42 --json | jq -c 'select(.event == "state_update") | .data.updates'
              flowhub watch import-42 --until-finished && echo imported
              flowhub watch import-42 --from start

            \(CommandFailure.exitCodes)
            With --until-finished: 0 if every flow completed, 1 if one failed, was cancelled or deleted.
            """)

    @Argument(help: "The ids of the flows, at most 1,000.")
    var flow: [String]

    @OptionGroup var options: HubOptions

    @Option(
        help: ArgumentHelp(
            "Start after this cursor. start: from version 1, or with resync and a snapshot if history no longer holds it.",
            valueName: "cursor"))
    var from: String?

    @Option(
        help: ArgumentHelp(
            "Only these event types. Control events such as snapshot and closing are always sent.", valueName: "a,b"))
    var types: String?

    @Flag(help: "Without --from: start at the head of each flow, without its state.")
    var noSnapshot = false

    @Flag(help: "Also show the number of subscribers of each flow.")
    var presence = false

    @Flag(help: "Exit as soon as every flow is completed, failed, cancelled or deleted.")
    var untilFinished = false

    @Option(help: ArgumentHelp("Seconds without a working connection after which watch exits; 0: never.", valueName: "s"))
    var giveUp = 120

    /// Maximum number of flows of one stream that a hub accepts by default.
    static let maximumFlows = 1_000

    func run() async throws {
        let flows = try self.flows()
        let options = Watcher.Options(
            types: try self.eventTypes(), wantsSnapshot: !self.noSnapshot, wantsPresence: self.presence)
        let positions = try self.positions(flows)
        guard self.giveUp >= 0 else { throw CommandFailure(.usage, "--give-up must be 0 or higher, not \(self.giveUp).") }
        try await self.options.withClient { client in
            var watcher = Watcher(
                client: client, positions: positions, options: options, endsWhenFinished: self.untilFinished,
                giveUpAfter: self.giveUp)
            let palette = Palette(isOn: Terminal.isColorful && !self.options.json)
            var printer = EventPrinter(
                json: self.options.json, palette: palette, namesFlow: flows.count > 1,
                width: palette.isOn ? Terminal.width : nil)
            let ending = try await watcher.run { notice in
                switch notice {
                case .connected(let positions):
                    let cursor = Terminal.sanitized("\(positions)")
                    let place = cursor.isEmpty ? "" : ", continuing after \(cursor)"
                    Terminal.note("connected to \(client.hub.host)\(place)")
                case .lost(let reason, let milliseconds):
                    Terminal.note("not connected: \(reason); next attempt in \(Double(milliseconds / 100) / 10) s")
                case .event(let event):
                    let text = printer.text(of: event, now: Self.now())
                    if !text.isEmpty { try Terminal.show(Array(text.utf8)) }
                }
            }
            try await self.conclude(ending, &watcher)
        }
    }

    /// Prints why the command has stopped following the flows.
    /// - Throws: ``CommandFailure`` if a token expired or was revoked; `ExitCode(1)` with `--until-finished` if a flow did not
    ///   complete.
    private func conclude(_ ending: Watcher.Ending, _ watcher: inout Watcher) async throws {
        if watcher.endings.lostAccess {
            throw CommandFailure(.rejected, "The hub closed the stream: the token has expired or was revoked. Request a new one.")
        }
        if self.untilFinished { try await watcher.learnStatuses() }
        let statuses = watcher.endings.flows.compactMap { flow in
            watcher.endings.statuses[flow].map { "\(flow) \(Terminal.sanitized($0.rawValue))" }
        }
        var summary = statuses.isEmpty ? "the hub has no further events" : statuses.joined(separator: ", ")
        let cursor = "\(watcher.positions)"
        if !cursor.isEmpty { summary += "; cursor \(Terminal.sanitized(cursor))" }
        Terminal.note("ended: \(summary)")
        guard self.untilFinished else { return }
        if watcher.endings.flows.contains(where: { watcher.endings.statuses[$0]?.rawValue != "completed" }) { throw ExitCode(1) }
    }

    /// The flows of the command line, without duplicates.
    /// - Throws: ``CommandFailure`` of kind `usage` if an id is invalid or there are more than ``maximumFlows``.
    private func flows() throws(CommandFailure) -> [FlowID] {
        var flows: [FlowID] = []
        var seen = Set<FlowID>()
        for text in self.flow {
            let flow = try FlowID.argument(text)
            if seen.insert(flow).inserted { flows.append(flow) }
        }
        guard flows.count <= Self.maximumFlows else {
            throw CommandFailure(
                .usage,
                "One stream has at most \(Self.maximumFlows) flows, not \(flows.count). Start another watch for the rest.")
        }
        return flows
    }

    /// The event types of `--types`; empty without the option.
    /// - Throws: ``CommandFailure`` of kind `usage` if one is invalid.
    private func eventTypes() throws(CommandFailure) -> [EventType] {
        guard let types = self.types else { return [] }
        var names: [EventType] = []
        for name in types.split(separator: ",") {
            guard let type = EventType(name) else {
                throw CommandFailure(
                    .usage, "Invalid event type \"\(Terminal.sanitized(name))\". Use 1 to 64 characters of A-Za-z0-9_.:-")
            }
            names.append(type)
        }
        guard !names.isEmpty else { throw CommandFailure(.usage, "--types must contain at least one event type.") }
        return names
    }

    /// The positions of `--from`; none without the option.
    /// - Throws: ``CommandFailure`` of kind `usage` if the cursor is invalid, or of other flows.
    private func positions(_ flows: [FlowID]) throws(CommandFailure) -> WatchPositions {
        let from = self.from ?? ""
        let isCursor = from.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isCursor, self.from != "", let positions = WatchPositions(flows, cursor: from == "start" ? "0" : from) else {
            throw CommandFailure(
                .usage,
                flows.count == 1
                    ? "--from must be start or a cursor: the id of an event, which watch prints when it ends."
                    : "--from must be start or the cursor that watch of the same flows has printed when it ended.")
        }
        return positions
    }

    /// The wall clock.
    private static func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}
