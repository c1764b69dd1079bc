import FlowCore
import FlowTestKit

/// The only publisher of one flow. It predicts the effect of each change, and so knows the flow's expected state.
struct FlowWriter: Sendable {
    let flow: String
    let hub: HubProcess
    let schedule: ModelSchedule
    var random: SeededRandom
    var journal: FlowJournal
    var violations: [Violation] = []
    private var count = 0
    /// Number of changes, for ``StoreFault/earlyAcknowledgement``.
    var changes = 0
    /// Number of times that the simulated fault has changed something.
    var faultOccasions = 0

    init(flow: String, hub: HubProcess, schedule: ModelSchedule, random: SeededRandom) {
        self.flow = flow
        self.hub = hub
        self.schedule = schedule
        self.random = random
        self.journal = FlowJournal(flow: flow)
    }

    mutating func report(_ what: String) { self.violations.append(Violation("the writer of \(self.flow)", what)) }

    mutating func run() async throws {
        var api = self.hub.api
        for _ in 0..<self.schedule.steps {
            do {
                try await self.step(api)
            } catch is AnswerLost {
                api = try await self.reconnect()
            } catch is TimedOut {
                api = try await self.reconnect()
            } catch let error as HubAPI.UnexpectedReply where error.reply.status == 503 {
                api = try await self.reconnect()
            } catch is HubUnavailable {
                api = try await self.reconnect()
            }
        }
    }

    /// Waits until the hub is ready again.
    private func reconnect() async throws -> HubAPI {
        try await eventually("the hub to be ready again", within: .seconds(40)) { (try? await self.hub.api.isReady()) == true }
        return self.hub.api
    }

    private mutating func step(_ api: HubAPI) async throws {
        switch self.random.pick(self.schedule.writes) {
        case .publish: try await self.publish(1, fill: 0, api)
        case .batch: try await self.publish(self.random.number(2...8), fill: 0, api)
        case .bulk: try await self.publish(self.random.number(10...60), fill: self.random.number(200...2_000), api)
        case .transient: try await self.publishTransient(api)
        case .patch: try await self.patch(self.somePatch(), api)
        case .put: try await self.put(self.someObject(), api)
        case .end:
            try await self.patch(Self.status(["completed", "failed", "cancelled"].randomElement(using: &self.random) ?? ""), api)
        case .reopen: try await self.patch(Self.status("running"), api)
        case .delete: try await self.delete(api)
        case .staleCondition: try await self.patchOnStaleCondition(api)
        case .repeatedKey: try await self.publishTwice(api)
        case .read: try await self.read(api)
        }
    }

    // MARK: Changes

    private mutating func someEvents(_ number: Int, fill: Int) -> [(type: String, data: JSONText)] {
        (0..<number).map { _ in
            let type = ["alpha", "beta", "gamma"].randomElement(using: &self.random) ?? "alpha"
            return (type, self.nextData(fill: fill))
        }
    }

    /// Event data that is unique within the flow.
    private mutating func nextData(fill: Int) -> JSONText {
        self.count += 1
        let count = self.count
        return .object { writer in
            writer.key("n")
            writer.value(count)
            if fill > 0 {
                writer.key("fill")
                writer.value(String(repeating: "x", count: fill))
            }
        }
    }

    private mutating func publish(_ number: Int, fill: Int, _ api: HubAPI) async throws {
        let events = self.someEvents(number, fill: fill)
        let entries = events.map { FlowJournal.Entry.event($0.type, $0.data) }
        let flow = self.flow
        let written = try await self.perform(entries) { try await api.publish(events, to: flow) }
        guard let written else { return }
        let expected = Array(self.journal.version - Version(number) + 1...self.journal.version)
        if number > 1, written.versions != expected {
            self.report("a batch got the versions \(written.versions), not \(expected)")
        }
    }

    private mutating func publishTransient(_ api: HubAPI) async throws {
        let data = self.nextData(fill: 0)
        let type = ["tick", "step"].randomElement(using: &self.random) ?? "tick"
        // Recorded before it is sent: a subscriber may receive the event even if the response is lost.
        self.journal.appendTransient(type, data)
        let written = try await Self.attempt { try await api.publish(type, data, to: self.flow, durable: false) }
        if written.status == 503 { throw HubAPI.UnexpectedReply(reply: written.reply, what: "a transient event") }
        if written.status != 202 { self.report("a transient event was answered with \(written.status) \(written.reply.text)") }
    }

    private mutating func patch(_ patch: JSONText, _ api: HubAPI) async throws {
        let now = self.journal.now
        let base = now.exists ? now.state : .emptyObject
        let patched = base.applying(mergePatch: patch)
        let flow = self.flow
        if now.exists, patched.isEquivalent(to: base) {
            _ = try await self.perform([]) { try await api.patch(flow, patch) }
        } else {
            let isRecreated = !now.exists && self.journal.version > 0
            let entry = FlowJournal.Entry.update(isRecreated ? patched : patch, replaces: isRecreated)
            _ = try await self.perform([entry]) { try await api.patch(flow, patch) }
        }
    }

    private mutating func put(_ state: JSONText, _ api: HubAPI) async throws {
        let flow = self.flow
        _ = try await self.perform([.update(state, replaces: true)]) { try await api.put(flow, state) }
    }

    private mutating func delete(_ api: HubAPI) async throws {
        let flow = self.flow
        if self.journal.now.exists {
            if try await self.perform([.deletion], { try await api.delete(flow) }) != nil { try await self.loseTombstone() }
        } else {
            let written = try await Self.attempt { try await api.delete(flow) }
            if written.status == 503 { throw HubAPI.UnexpectedReply(reply: written.reply, what: "a deletion") }
            if written.status != 404 { self.report("deleting a missing flow was answered with \(written.status)") }
        }
    }

    private mutating func patchOnStaleCondition(_ api: HubAPI) async throws {
        let stale = api.with(header: "If-Match", "\"1.a-\(self.journal.version)\"")
        let patch = self.somePatch()
        let written = try await Self.attempt { try await stale.patch(self.flow, patch) }
        if written.status == 503 { throw HubAPI.UnexpectedReply(reply: written.reply, what: "a condition") }
        if written.status != 412 { self.report("a stale If-Match was answered with \(written.status)") }
    }

    /// Sends the same request twice with one idempotency key, and checks that it is applied once.
    private mutating func publishTwice(_ api: HubAPI) async throws {
        let events = self.someEvents(self.random.number(1...3), fill: 0)
        let flow = self.flow
        self.count += 1
        let keyed = api.with(header: "Idempotency-Key", "key-\(flow)-\(self.count)")
        let first = try await self.perform(events.map { .event($0.type, $0.data) }) { try await keyed.publish(events, to: flow) }
        guard let first else { return }
        let second = try await Self.attempt { try await keyed.publish(events, to: flow) }
        if second.status == 503 { throw HubAPI.UnexpectedReply(reply: second.reply, what: "a repetition") }
        if !second.replayed || second.version != first.version {
            self.report(
                "a repeated request was answered with \(second.status) \(second.reply.text), the first at \(first.version)"
            )
        }
    }

    // MARK: Sending

    /// Sends a change that must create exactly these events.
    /// - Returns: the response; `nil` if the change was rejected, which is reported as a violation, or is lost by a simulated
    ///   fault.
    private mutating func perform(
        _ entries: [FlowJournal.Entry], _ send: () async throws -> HubAPI.Written
    ) async throws -> HubAPI.Written? {
        if self.losesChange(entries) { return nil }
        let written: HubAPI.Written
        do {
            written = try await Self.attempt(send)
        } catch let error where error is AnswerLost || error is TimedOut {
            try await self.settle(entries)
            throw error
        }
        if written.status == 503 {
            try await self.settle(entries)
            throw HubAPI.UnexpectedReply(reply: written.reply, what: "a change")
        }
        guard written.isAcknowledged else {
            self.report("a change was answered with \(written.status) \(written.reply.text)")
            return nil
        }
        for entry in entries { self.journal.append(entry) }
        if written.version != self.journal.version {
            self.report("a change was acknowledged with version \(written.version), it should be \(self.journal.version)")
        }
        if let state = written.state, !state.isEquivalent(to: self.journal.now.state) {
            self.report("a change was acknowledged with the state \(state), it should be \(self.journal.now.state)")
        }
        return written
    }

    /// Determines from the history whether a change without a response was applied: completely or not at all.
    private mutating func settle(_ entries: [FlowJournal.Entry]) async throws {
        let api = try await self.reconnect()
        guard let history = try await api.history(of: self.flow, after: self.journal.version) else { return }
        let found = history.events.map { FlowJournal.Entry(envelope: $0) }
        if found.isEmpty { return }
        guard found.count == entries.count, zip(found, entries).allSatisfy({ $0.isEquivalent(to: $1) }) else {
            self.report("after a lost response the store has the unexpected events \(history.events)")
            return
        }
        for entry in entries { self.journal.append(entry) }
    }

    /// The request was not sent, since the hub is unavailable.
    struct HubUnavailable: Error {}

    /// Sends a request.
    /// - Throws: ``HubUnavailable`` if the request was not sent; otherwise the error of the request.
    static func attempt<Value>(_ send: () async throws -> Value) async throws -> Value {
        do { return try await send() } catch let error {
            if error is AnswerLost || error is TimedOut || error is HubAPI.UnexpectedReply { throw error }
            throw HubUnavailable()
        }
    }
}
