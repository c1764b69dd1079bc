public import FlowCore
import Testing

/// Contract tests that every ``TaskLedger`` passes. They use the ledger's own clock, with ages of whole hours or none.
public enum TaskLedgerContract {
    /// A case gets a ledger without records.
    public typealias Case = ContractCase<any TaskLedger>

    private static func record(_ name: ScheduledTask.Name, _ ledger: any TaskLedger) async throws -> TaskRecord {
        try #require(try await ledger.tasks().first { $0.name == name.rawValue })
    }

    public static let cases: [Case] = [
        Case("a task that was never begun is due, and has one run at a time") { ledger in
            #expect(try await ledger.tasks() == [])
            let first = try await ledger.begin(.retention, interval: 3_600, lease: 3_600, instance: "a")
            #expect(first == 1)
            #expect(try await ledger.begin(.retention, interval: 0, lease: 3_600, instance: "b") == nil)
            #expect(try await ledger.begin(.importSweep, interval: 3_600, lease: 3_600, instance: "b") == 1)
            let record = try await Self.record(.retention, ledger)
            #expect(record.run == 1 && record.instance == "a" && record.isRunning && !record.isInterrupted)
            #expect(record.age < 600 && record.ended == nil)
            #expect(!record.isDue(interval: 0))
            #expect(try await ledger.tasks().count == 2)
        },
        Case("of concurrent attempts to begin one succeeds") { ledger in
            let begun = try await withThrowingTaskGroup(of: Int64?.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        try await ledger.begin(.retention, interval: 3_600, lease: 3_600, instance: "\(number)")
                    }
                }
                return try await group.reduce(into: []) { $0 += $1.map { [$0] } ?? [] }
            }
            #expect(begun == [1])
        },
        Case("a run that ended has a result, and the next is due after the interval") { ledger in
            let run = try #require(try await ledger.begin(.importVerify, interval: 60, lease: 60, instance: "a"))
            let result = TaskRecord.Result(milliseconds: 1_234, problems: 5, failure: "f")
            #expect(try await ledger.end(.importVerify, run: run, result))
            let record = try await Self.record(.importVerify, ledger)
            #expect(!record.isRunning && !record.isInterrupted && record.ended?.result == result)
            #expect(record.isDue(interval: 0) && !record.isDue(interval: 3_600))
            #expect(try await ledger.begin(.importVerify, interval: 3_600, lease: 60, instance: "b") == nil)
            #expect(try await ledger.begin(.importVerify, interval: 0, lease: 60, instance: "b") == 2)
            // The result stays until the next run ends.
            #expect(try await Self.record(.importVerify, ledger).ended?.result == result)
            #expect(try await ledger.end(.importVerify, run: 2, TaskRecord.Result(milliseconds: 1, problems: 0)))
            #expect(try await Self.record(.importVerify, ledger).ended?.result == TaskRecord.Result(milliseconds: 1, problems: 0))
        },
        Case("an interrupted run is due at once, and can change nothing any more") { ledger in
            let run = try #require(try await ledger.begin(.retention, interval: 3_600, lease: 3_600, instance: "a"))
            #expect(try await ledger.extend(.retention, run: run, lease: 3_600))
            #expect(try await ledger.extend(.retention, run: run, lease: 0))
            let record = try await Self.record(.retention, ledger)
            #expect(!record.isRunning && record.isInterrupted && record.isDue(interval: 3_600))
            #expect(try await ledger.begin(.retention, interval: 3_600, lease: 3_600, instance: "b") == 2)
            #expect(try await ledger.extend(.retention, run: run, lease: 3_600) == false)
            #expect(try await ledger.end(.retention, run: run, TaskRecord.Result(milliseconds: 1, problems: 9)) == false)
            #expect(try await Self.record(.retention, ledger).ended == nil)
            #expect(try await ledger.end(.retention, run: 2, TaskRecord.Result(milliseconds: 1, problems: 0)))
            #expect(try await ledger.extend(.retention, run: 2, lease: 60) == false, "it has ended")
        },
    ]
}
