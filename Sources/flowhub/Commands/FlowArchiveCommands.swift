import ArgumentParser
import FlowCore
import Foundation

/// `flowhub flows export`
struct FlowsExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write all flows of a store with their histories, one JSON object a line (NDJSON).",
        discussion: """
            Versions, times, fences and tombstones are kept, so that an import goes on where the export stopped. The hub may run \
            meanwhile; each flow is written as it is at its own moment.

            EXAMPLES
              flowhub flows export --data ./flowhub-data > flows.ndjson
              DATABASE_URL=postgres://hub@db/hub flowhub flows export | gzip > flows.ndjson.gz

            EXIT CODES: 0 done; 1 the store failed; 2 wrong usage.
            """)

    private static let flowsAtOnce = 100
    private static let page = PageLimit(events: 1_000, bytes: 1_048_576)

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let store = try await self.location.open()
        do {
            var (flows, events) = (0, 0)
            var after: String?
            while true {
                let slice = try await store.flows.archive(after: after, limit: Self.flowsAtOnce)
                for flow in slice {
                    try Terminal.show(ArchiveLine.flow(flow).json.string)
                    events += try await Self.writeHistory(of: flow, store)
                }
                flows += slice.count
                guard slice.count == Self.flowsAtOnce, let last = slice.last else { break }
                after = last.record.head.flow.rawValue
            }
            Terminal.say("\(flows) flows and \(events) events written.")
        } catch let error as StoreError {
            await store.close()
            throw CommandFailure(.refused, "The store failed: \(error)")
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }

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
        abstract: "Put flows that were exported into a store.",
        discussion: """
            A flow that is there already with the same version and state is passed over, so an import may be run again. One that \
            differs is left as it is and named: a version must not mean two things. A line that cannot be read ends the import; \
            what came before it stays.

            EXAMPLES
              DATABASE_URL=postgres://hub@db/hub flowhub flows import flows.ndjson
              gunzip -c flows.ndjson.gz | flowhub flows import - --data ./flowhub-data

            EXIT CODES: 0 done; 1 the store or a line failed; 2 wrong usage; 4 some flows were there with another version.
            """)

    @Argument(help: "The file; - reads standard input.")
    var file: String

    @OptionGroup var location: StoreLocation

    func run() async throws {
        let lines = try ArchiveReader(file: self.file)
        let store = try await self.location.open()
        var report = Report()
        do {
            while let (flow, events) = try lines.nextFlow() {
                report.add(try await store.flows.restore(flow, events: events), flow.record, events.count)
            }
        } catch let error as StoreError {
            await store.close()
            throw CommandFailure(.refused, "\(report.text) Then the store failed: \(error)")
        } catch {
            await store.close()
            throw CommandFailure(.refused, "\(report.text) Then line \(lines.number): \(error)")
        }
        await store.close()
        Terminal.say(report.text)
        if report.others > 0 {
            throw CommandFailure(.conditionFailed, "\(report.others) flows are there with another version and were left alone.")
        }
    }

    struct Report {
        var restored = 0
        var events = 0
        var alreadyThere = 0
        var others = 0

        mutating func add(_ outcome: RestoreOutcome, _ record: FlowRecord, _ events: Int) {
            switch outcome {
            case .restored:
                self.restored += 1
                self.events += events
            case .alreadyThere: self.alreadyThere += 1
            case .otherIsThere(let version):
                self.others += 1
                Terminal.say("\(record.head.flow): version \(version) is there, the file has \(record.version).")
            }
        }

        var text: String { "\(self.restored) flows with \(self.events) events put in, \(self.alreadyThere) were there already." }
    }
}

/// Reads an archive flow by flow; one flow with its history is in memory at a time.
final class ArchiveReader {
    private let handle: UnsafeMutablePointer<FILE>
    private var pending: ArchiveLine?
    private(set) var number = 0

    init(file: String) throws(CommandFailure) {
        guard let handle = file == "-" ? fdopen(dup(STDIN_FILENO), "r") : fopen(file, "r") else {
            throw CommandFailure(.usage, "\(Terminal.harmless(file)) cannot be read: \(String(cString: strerror(errno))).")
        }
        self.handle = handle
    }

    deinit { fclose(self.handle) }

    func nextFlow() throws -> (ArchivedFlow, [FlowEvent])? {
        guard let first = try self.takeLine() else { return nil }
        guard case .flow(let flow) = first else {
            throw ArchiveLine.Malformed(description: "an event before its flow")
        }
        var events: [FlowEvent] = []
        while let line = try self.takeLine() {
            guard case .event(let event, let owner) = line else {
                self.pending = line
                break
            }
            guard owner == flow.record.head.flow else {
                throw ArchiveLine.Malformed(description: "an event of \(owner) among those of \(flow.record.head.flow)")
            }
            if let last = events.last, event.version != last.version + 1 {
                throw ArchiveLine.Malformed(description: "version \(event.version) of \(owner) follows \(last.version)")
            }
            events.append(event)
        }
        if let last = events.last, last.version != flow.record.version {
            throw ArchiveLine.Malformed(
                description:
                    "the history of \(flow.record.head.flow) ends at \(last.version), the flow is at \(flow.record.version)")
        }
        return (flow, events)
    }

    private func takeLine() throws -> ArchiveLine? {
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
