import ArgumentParser
import FlowCore
import Foundation

/// `flowhub flows export`
struct FlowsExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write all flows of a store and their history as NDJSON, with revocations and replies to idempotency keys.",
        discussion: """
            Versions, times, fences and tombstones are preserved, so that an imported flow continues at the same version. The \
            hub may run meanwhile; then the flows are not all from the same moment. Not part of it: imports (`flowhub imports \
            export`) and locks, which expire.

            The output has all states and histories. Set `umask 077` in the shell, so that others cannot read the file.

            EXAMPLES
              flowhub flows export --data ./flowhub-data > flows.ndjson
              DATABASE_URL=postgres://hub@db/hub flowhub flows export --without-imports | gzip > flows.ndjson.gz

            EXIT CODES: 0 success; 1 the store failed, or has imports and --without-imports is missing; 2 invalid usage.
            """)

    @Flag(help: "Export the flows although the store has imports, which are exported by `flowhub imports export`.")
    var withoutImports = false

    private static let flowsAtOnce = 100
    private static let page = PageLimit(events: 1_000, bytes: 1_048_576)

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let store = try await self.location.open()
        do {
            try await self.refuseToLeaveImports(store)
            var (flows, events) = (0, 0)
            var after: String?
            while true {
                let slice = try await store.flows.exportFlows(after: after, limit: Self.flowsAtOnce)
                for flow in slice {
                    try Terminal.show(ArchiveLine.flow(flow).json.string)
                    events += try await Self.writeHistory(of: flow, store)
                }
                flows += slice.count
                guard slice.count == Self.flowsAtOnce, let last = slice.last else { break }
                after = last.record.head.flow.rawValue
            }
            let revocations = try await store.flows.revocations()
            for revocation in revocations { try Terminal.show(ArchiveLine.revocation(revocation).json.string) }
            let replies = try await Self.writeReplies(store)
            try Terminal.show(ArchiveLine.fencing(try await store.flows.nextFencingToken()).json.string)
            Terminal.note(
                "\(flows) flows with \(events) events, \(revocations.count) revocations and \(replies) replies exported.")
        } catch let error as StoreError {
            await store.close()
            throw CommandFailure(.rejected, "The store failed during the export, which is incomplete: \(error)")
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }

    /// Checks that the store has no imports, which an export of flows would leave behind, or that the user knows of it.
    private func refuseToLeaveImports(_ store: HubStore) async throws {
        guard !self.withoutImports, try await !store.imports.imports(after: nil, limit: 1).isEmpty else { return }
        throw CommandFailure(
            .rejected,
            "The store has imports, which an export of flows does not contain. Export them with `flowhub imports export DIR`, "
                + "and pass --without-imports here. Nothing was exported.")
    }

    /// Prints the stored replies, one per line.
    /// - Returns: their number.
    private static func writeReplies(_ store: HubStore) async throws -> Int {
        var (count, last) = (0, ArchivedReply?.none)
        while true {
            let slice = try await store.flows.exportReplies(after: last, limit: 1_000)
            for reply in slice { try Terminal.show(ArchiveLine.reply(reply).json.string) }
            count += slice.count
            last = slice.last
            if slice.count < 1_000 { return count }
        }
    }

    /// Prints the events in a flow's history, one per line.
    /// - Returns: the number of events.
    private static func writeHistory(of flow: ArchivedFlow, _ store: HubStore) async throws -> Int {
        let id = flow.record.head.flow
        let events = try await flow.history { try await store.flows.page(of: id, after: $0, limit: Self.page) }
        for event in events { try Terminal.show(ArchiveLine.event(event, of: id).json.string) }
        return events.count
    }
}

/// `flowhub flows import`
struct FlowsImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Import exported flows into a store.",
        discussion: """
            A flow that exists with the same version and state is skipped, so an import can be repeated. A flow that differs \
            is reported and left unchanged, because a version must not stand for two different events. An invalid line stops \
            the import; the flows before it stay imported.

            EXAMPLES
              DATABASE_URL=postgres://hub@db/hub flowhub flows import flows.ndjson
              gunzip -c flows.ndjson.gz | flowhub flows import - --data ./flowhub-data

            EXIT CODES: 0 success; 1 the store failed or a line is invalid; 2 invalid usage; 4 some flows exist with another \
            version or state.
            """)

    @Argument(help: "The file to read; - is standard input.")
    var file: String

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let lines = try ArchiveReader(file: self.file)
        let store = try await self.location.open()
        var report = Report()
        do {
            while let item = try lines.next() {
                switch item {
                case .flow(let flow, let events):
                    report.add(try await store.flows.restore(flow, events: events), flow.record, events.count)
                case .revocation(let revocation):
                    switch try await store.flows.revoke(revocation, now: SystemClock.now()) {
                    case .stored: report.revocations += 1
                    case .limitReached(let limit):
                        throw CommandFailure(
                            .rejected,
                            "\(report.text) Stopped at line \(lines.number): account \(revocation.account) has the maximum of "
                                + "\(limit) revocations (FLOWHUB_MAX_ACCOUNT_REVOCATIONS). Raise it and import again.")
                    }
                case .fencing(let token): try await store.flows.advanceFencing(beyond: token)
                case .reply(let reply): if try await store.flows.restore(reply) { report.replies += 1 }
                }
            }
        } catch let failure as CommandFailure {
            await store.close()
            throw failure
        } catch let error as StoreError {
            await store.close()
            throw CommandFailure(.rejected, "\(report.text) Stopped because the store failed: \(error)")
        } catch {
            await store.close()
            throw CommandFailure(.rejected, "\(report.text) Stopped at line \(lines.number) of the file: \(error)")
        }
        await store.close()
        Terminal.note(report.text)
        if report.conflicting > 0 {
            throw CommandFailure(
                .conditionFailed, "\(report.conflicting) flows exist with another version or state and were left unchanged.")
        }
    }

    struct Report {
        var restored = 0
        var events = 0
        var alreadyPresent = 0
        var conflicting = 0
        var revocations = 0
        var replies = 0

        /// Counts the outcome for one flow. Prints a message if the flow exists with another version or state.
        mutating func add(_ outcome: RestoreOutcome, _ record: FlowRecord, _ events: Int) {
            switch outcome {
            case .restored:
                self.restored += 1
                self.events += events
            case .alreadyPresent: self.alreadyPresent += 1
            case .conflictingVersion(let version):
                self.conflicting += 1
                Terminal.note(
                    "flow \(record.head.flow) was left unchanged: the store has version \(version), the file has version "
                        + "\(record.version).")
            }
        }

        var text: String {
            "\(self.restored) flows with \(self.events) events imported, \(self.alreadyPresent) already existed; "
                + "\(self.revocations) revocations and \(self.replies) replies imported."
        }
    }
}

/// Reads the output of `flowhub flows export` flow by flow. At most one flow with its history is in memory.
final class ArchiveReader {
    private let handle: UnsafeMutablePointer<FILE>
    private var pending: ArchiveLine?
    /// Number of the most recently read line of the file, counted from 1; 0 before the first one.
    private(set) var number = 0

    init(file: String) throws(CommandFailure) {
        guard let handle = file == "-" ? fdopen(dup(STDIN_FILENO), "r") : fopen(file, "r") else {
            throw CommandFailure(.usage, "Cannot read \(Terminal.sanitized(file)): \(String(cString: strerror(errno))).")
        }
        self.handle = handle
    }

    deinit { fclose(self.handle) }

    /// What an archive consists of.
    enum Item {
        case flow(ArchivedFlow, [FlowEvent])
        case revocation(Revocation)
        case reply(ArchivedReply)
        case fencing(Int64)
    }

    /// Reads the next flow with its events, or the next revocation or reply.
    /// - Returns: `nil` at the end of the file.
    /// - Throws: ``ArchiveLine/Malformed`` or a JSON error for an invalid line, or for events that do not belong to the
    ///   flow or have gaps.
    func next() throws -> Item? {
        guard let first = try self.nextLine() else { return nil }
        let flow: ArchivedFlow
        switch first {
        case .flow(let archived): flow = archived
        case .revocation(let revocation): return .revocation(revocation)
        case .reply(let reply): return .reply(reply)
        case .fencing(let token): return .fencing(token)
        case .event: throw ArchiveLine.Malformed(description: "it is an event, but no flow precedes it")
        }
        var events: [FlowEvent] = []
        while let line = try self.nextLine() {
            guard case .event(let event, let owner) = line else {
                self.pending = line
                break
            }
            guard owner == flow.record.head.flow else {
                throw ArchiveLine.Malformed(
                    description: "it is an event of \(owner), but the flow before it is \(flow.record.head.flow)")
            }
            if let last = events.last, event.version != last.version + 1 {
                throw ArchiveLine.Malformed(
                    description: "version \(event.version) of flow \(owner) follows version \(last.version)")
            }
            events.append(event)
        }
        if let last = events.last, last.version != flow.record.version {
            throw ArchiveLine.Malformed(
                description:
                    "the history of \(flow.record.head.flow) ends at version \(last.version), "
                    + "but the flow is at version \(flow.record.version)")
        }
        return .flow(flow, events)
    }

    /// Reads the next line that is not empty. A flow's events end where the line of the following flow begins.
    /// ``nextFlow()`` has then already read that line and stored it in `pending`, so this function returns it first.
    /// - Returns: `nil` at the end of the file.
    private func nextLine() throws -> ArchiveLine? {
        if let line = self.pending {
            self.pending = nil
            return line
        }
        while true {
            var buffer: UnsafeMutablePointer<CChar>?
            var capacity = 0
            defer { free(buffer) }
            let length = getline(&buffer, &capacity, self.handle)
            guard length >= 0, let buffer else { return nil }
            self.number += 1
            let bytes = UnsafeRawBufferPointer(start: buffer, count: length)
            let text = Array(bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
            if text.isEmpty { continue }
            return try ArchiveLine(JSONText(validating: text))
        }
    }
}
