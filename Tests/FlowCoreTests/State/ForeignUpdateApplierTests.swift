import FlowTestKit
import Logging
import Synchronization
import Testing

@testable import FlowCore

@Suite struct ForeignUpdateApplierTests {
    private static func update(_ number: Int, of flow: FlowID = Sample.flow) -> ForeignUpdate {
        ForeignUpdate(flow: flow, patch: Sample.json(#"{"n":\#(number)}"#), digest: "d\(number)", identity: "i\(number)")
    }

    /// Runs an applier on a fake store.
    private static func running(
        account: String? = "1", _ limits: ForeignUpdateApplier.Limits = .init(),
        _ body: (ForeignUpdateApplier, ManagerFixture, ForeignMessageMonitor) async throws -> Void
    ) async throws {
        let fixture = ManagerFixture()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let monitor = ForeignMessageMonitor(logger: logger)
        let applier = ForeignUpdateApplier(
            account: account, limits: limits, monitor: monitor, now: { Timestamp(milliseconds: 1) }, logger: logger)
        let run = Task { await applier.run(fixture.manager) }
        do {
            try await body(applier, fixture, monitor)
        } catch {
            run.cancel()
            throw error
        }
        run.cancel()
        await run.value
    }

    private static func count(_ reason: ForeignMessageMonitor.Reason, _ monitor: ForeignMessageMonitor) -> Int {
        monitor.counts.first { $0.reason == reason.rawValue }?.count ?? -1
    }

    @Test func appliesWhatItKeptThenWhatItHears() async throws {
        try await Self.running { applier, fixture, _ in
            for number in 1...3 { applier.heard(Self.update(number)) }
            #expect(fixture.store.state.withLock { $0.applies } == 0 && applier.hasUnapplied && applier.hasRecent())
            applier.start()
            applier.heard(Self.update(4))
            try await eventually("all to be applied") { applier.stopIfIdle() }
            #expect(!applier.isApplying && !applier.hasUnapplied && applier.appliedCount == 4)
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.state.string } == #"{"n":4}"#)
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.version } == 4)
            // Applied ones are not applied again by the same instance.
            applier.heard(Self.update(5))
            applier.start()
            try await eventually("the fifth to be applied") { applier.stopIfIdle() }
            #expect(fixture.store.state.withLock { $0.applies } == 5)
        }
    }

    @Test func triesAgainInOrderUntilStoreAnswers() async throws {
        try await Self.running { applier, fixture, monitor in
            fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
            applier.start()
            for number in 1...3 { applier.heard(Self.update(number)) }
            try await eventually("two attempts") { fixture.store.state.withLock { $0.applies } >= 2 }
            #expect(!applier.stopIfIdle() && applier.pendingCount == 3)
            // Another instance has the lease: this one gives up, and has the updates still.
            applier.stop()
            fixture.store.state.withLock { $0.writeFailure = nil }
            #expect(applier.hasUnapplied && fixture.store.state.withLock { $0.records.isEmpty })
            applier.start()
            try await eventually("all to be applied") { applier.stopIfIdle() }
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.version } == 3)
            #expect(monitor.counts.allSatisfy { $0.count == 0 })
        }
    }

    @Test func keepsForLimitedTimeAndBytes() async throws {
        var limits = ForeignUpdateApplier.Limits()
        limits.recentBytes = 3_000
        try await Self.running(limits) { applier, fixture, monitor in
            let start = ContinuousClock.now
            applier.heard(Self.update(1), at: start)
            applier.sawOther(isOfEarlierRelease: false, at: start)
            #expect(applier.hasRecent(at: start + .seconds(10)))
            #expect(!applier.hasRecent(at: start + .milliseconds(10_001)))
            // Those that another instance applies make room for newer ones.
            for number in 2...12 { applier.heard(Self.update(number)) }
            #expect(Self.count(.overloaded, monitor) == 0)
            fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
            applier.start()
            #expect(applier.pendingCount == 5)
            // Those that wait to be applied do not, and are kept for longer.
            applier.heard(Self.update(13))
            #expect(Self.count(.overloaded, monitor) == 1)
            #expect(applier.hasRecent(at: start + .seconds(60)) && applier.pendingCount == 5)
            fixture.store.state.withLock { $0.writeFailure = nil }
            try await eventually("all to be applied") { applier.stopIfIdle() }
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.state.string } == #"{"n":12}"#)
        }
    }

    @Test func manyKeptUpdatesStayWithinBytes() async throws {
        var limits = ForeignUpdateApplier.Limits()
        limits.recentBytes = 1_000_000
        try await Self.running(limits) { applier, fixture, monitor in
            fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
            let start = ContinuousClock.now
            applier.sawOther(isOfEarlierRelease: false, at: start)
            for number in 0..<20_000 { applier.heard(Self.update(number), at: start) }
            applier.start(at: start)
            // Each counts with its patch and 512 bytes.
            #expect((1_900...1_953).contains(applier.pendingCount), "\(applier.pendingCount)")
            #expect(Self.count(.overloaded, monitor) == 0)
            // Nobody else applies them: now further ones are dropped, and each is counted.
            applier.stop()
            for number in 0..<100 { applier.heard(Self.update(number), at: start + .seconds(60)) }
            #expect(Self.count(.overloaded, monitor) >= 99)
        }
    }

    /// While the store fails, the lease lapses, for example because Redis is restarted, and is had again.
    @Test func lapsedLeaseDropsNothingThatNobodyHasApplied() async throws {
        try await Self.running { applier, fixture, monitor in
            let start = ContinuousClock.now
            // Heard before any instance has the lease.
            applier.heard(Self.update(1), at: start)
            #expect(applier.hasRecent(at: start + .seconds(20)))
            fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
            applier.start(at: start + .seconds(20))
            applier.heard(Self.update(2), at: start + .seconds(20))
            try await eventually("two attempts") { fixture.store.state.withLock { $0.applies } >= 2 }
            applier.stop()
            applier.heard(Self.update(3), at: start + .seconds(40))
            #expect(applier.hasRecent(at: start + .seconds(90)))
            applier.start(at: start + .seconds(90))
            fixture.store.state.withLock { $0.writeFailure = nil }
            try await eventually("all to be applied") { applier.stopIfIdle() }
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.version } == 3 && applier.appliedCount == 3)
            #expect(fixture.store.state.withLock { $0.records[Sample.flow]?.state.string } == #"{"n":3}"#)
            #expect(monitor.counts.allSatisfy { $0.count == 0 })
        }
    }

    @Test func whatOtherInstanceCannotHaveKeptIsCounted() async throws {
        try await Self.running { applier, fixture, monitor in
            let start = ContinuousClock.now
            fixture.store.state.withLock { $0.writeFailure = .unavailable("test") }
            applier.start(at: start)
            applier.heard(Self.update(1), at: start)
            applier.heard(Self.update(2), at: start)
            applier.heard(Self.update(3), at: start + .seconds(25))
            applier.stop()
            applier.sawOther(isOfEarlierRelease: false, at: start + .seconds(30))
            #expect(Self.count(.leaseLost, monitor) == 2)
            // The third is the other instance's, and expires here.
            #expect(applier.hasRecent(at: start + .seconds(35)) && applier.hasUnapplied)
            #expect(!applier.hasRecent(at: start + .seconds(36)))
            applier.heard(Self.update(4), at: start + .seconds(36))
            applier.end()
            #expect(Self.count(.ended, monitor) == 1 && Self.count(.leaseLost, monitor) == 2)
        }
    }

    /// An instance of an earlier release knew an update by the digest of its message.
    @Test func digestIsIdentityOnlyAfterInstanceOfEarlierRelease() async throws {
        for isEarlier in [false, true] {
            try await Self.running { applier, fixture, _ in
                // The earlier release has applied an equal message.
                let update = Self.update(1)
                var idempotency = FlowChange.Idempotency(key: "hub seed:d1", fingerprint: "d1")
                let old = FlowChange(
                    flow: update.flow, account: "1", body: .patch(update.patch), idempotency: idempotency,
                    at: Timestamp(milliseconds: 1))
                _ = try await fixture.manager.apply(old)
                applier.heard(update)
                applier.sawOther(isOfEarlierRelease: isEarlier)
                // Between the last sight of that instance and its end.
                applier.heard(ForeignUpdate(flow: update.flow, patch: update.patch, digest: "d1", identity: "i2"))
                applier.start()
                applier.heard(ForeignUpdate(flow: update.flow, patch: update.patch, digest: "d1", identity: "i3"))
                try await eventually("all to be applied") { applier.stopIfIdle() }
                let changes = fixture.store.state.withLock { $0.changes.suffix(3) }
                idempotency.key = "hub seed:d1"
                #expect(
                    changes.map(\.idempotency?.formerKey)
                        == (isEarlier ? [idempotency.key, idempotency.key, nil] : [nil, nil, nil]))
                #expect(changes.map(\.idempotency?.key) == ["hub seed:i1", "hub seed:i2", "hub seed:i3"])
                // Another instance of this release is no reason.
                applier.sawOther(isOfEarlierRelease: true)
                applier.sawOther(isOfEarlierRelease: false)
                applier.heard(ForeignUpdate(flow: update.flow, patch: update.patch, digest: "d1", identity: "i4"))
                applier.start()
                try await eventually("the last to be applied") { applier.stopIfIdle() }
                #expect(fixture.store.state.withLock { $0.changes.last?.idempotency?.formerKey } == nil)
            }
        }
    }

    @Test func appliesForOwnerOnlyWithoutConfiguredAccount() async throws {
        let owned = Sample.id("owned")
        for account in [nil, "1"] as [String?] {
            try await Self.running(account: account) { applier, fixture, monitor in
                fixture.store.state.withLock { $0.records[owned] = Sample.record(1, of: owned, account: "2") }
                applier.start()
                applier.heard(Self.update(1, of: owned))
                applier.heard(Self.update(2))
                try await eventually("all to be applied") { applier.stopIfIdle() }
                let records = fixture.store.state.withLock { $0.records }
                #expect(records[owned]?.version == (account == nil ? 2 : 1) && records[owned]?.head.account == "2")
                #expect(records[Sample.flow]?.head.account == account)
                #expect(Self.count(.noAccount, monitor) == (account == nil ? 1 : 0))
                #expect(Self.count(.otherAccount, monitor) == (account == nil ? 0 : 1))
            }
        }
    }
}

extension CoreStreams {
    @Suite struct ForeignDeliveryTests {
        private static func message(_ account: String) -> BusMessage {
            BusMessage(
                flow: Sample.flow, account: account, epoch: Sample.epoch,
                content: .foreign(
                    TransientEvent(
                        type: Sample.type("note"), data: .null, createdAt: Timestamp(milliseconds: 0), isForeign: true)))
        }

        private static func undelivered(_ fixture: TableFixture) -> [String] {
            fixture.foreignMonitor.counts.filter { $0.count > 0 }.map { "\($0.reason) \($0.count)" }
        }

        @Test func reachesNamedAccountElseOwner() {
            let fixture = TableFixture()
            fixture.table.watch(Sample.flow, sink: 0)
            fixture.table.received([Self.message("1")])
            #expect(Self.undelivered(fixture) == ["opening 1"])
            fixture.table.unwatch(Sample.flow, sink: 0)
            // The flow does not exist.
            fixture.open(at: 0)
            fixture.table.received([Self.message("1"), Self.message("")])
            #expect(fixture.sinks[0].newDeliveries() == ["f note of 1"])
            #expect(Self.undelivered(fixture) == ["no_account 1", "opening 1"])
            // Account 1 owns the flow. For account 2 the flow does not exist.
            fixture.table.received([TableFixture.message(1)])
            _ = fixture.sinks[0].newDeliveries()
            fixture.table.received([Self.message("1"), Self.message(""), Self.message("2")])
            #expect(fixture.sinks[0].newDeliveries() == ["f note of 1", "f note of 1", "f note of 2"])
            #expect(Self.undelivered(fixture) == ["no_account 1", "other_account 1", "opening 1"])
        }
    }
}

@Suite struct ForeignMessageMonitorTests {
    @Test func countsAllAndLogsOnceAMinutePerReason() {
        let lines = RecordedLines()
        let monitor = ForeignMessageMonitor(logger: Logger(label: "test") { _ in lines })
        for _ in 0..<3 {
            for reason in ForeignMessageMonitor.Reason.allCases { monitor.count(reason, flow: "f", error: "e") }
        }
        #expect(monitor.counts.allSatisfy { $0.count == 3 })
        let logged = lines.lines
        #expect(logged.count == ForeignMessageMonitor.Reason.allCases.count { $0.remedy != nil })
        #expect(logged.allSatisfy { $0.contains("flow_id=f") && $0.contains("error=e") && $0.contains("remedy=") })
    }
}

/// A log handler that records its lines.
struct RecordedLines: LogHandler {
    private final class Storage: Sendable {
        let lines = Mutex<[String]>([])
    }

    private let storage = Storage()
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info

    var lines: [String] { self.storage.lines.withLock { $0 } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted().joined(separator: " ")
        self.storage.lines.withLock { $0.append("\(event.message) \(metadata)") }
    }
}
