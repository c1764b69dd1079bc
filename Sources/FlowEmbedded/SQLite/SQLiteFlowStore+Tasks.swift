public import FlowCore
import GRDB

extension SQLiteFlowStore: TaskLedger {
    /// Reads the records of all tasks.
    public func tasks() async throws(StoreError) -> [TaskRecord] {
        try await self.read(checksEpoch: false) { database in
            let now = try database.clock()
            let rows = try database.rows(
                """
                SELECT name, run, instance, begun_at, leased_until, ended_at, milliseconds, problems, failure FROM hub_tasks
                """, [])
            var records: [TaskRecord] = []
            while let row = try rows.next() { records.append(TaskRecord(row, now: now)) }
            return records
        }
    }

    /// Inserts the row of a task, or takes it over if a run is due.
    public func begin(
        _ task: ScheduledTask.Name, interval: Int, lease: Int, instance: String
    ) async throws(StoreError) -> Int64? {
        try await self.write { database in
            let now = try database.clock()
            return try database.first(
                """
                INSERT INTO hub_tasks AS t (name, run, instance, begun_at, leased_until) VALUES (?1, 1, ?2, ?3, ?4)
                ON CONFLICT (name) DO UPDATE
                SET run = t.run + 1, instance = excluded.instance, begun_at = excluded.begun_at,
                    leased_until = excluded.leased_until
                WHERE t.leased_until <= ?3 OR (t.leased_until IS NULL AND (t.begun_at <= ?5 OR t.begun_at > ?3))
                RETURNING run
                """,
                [
                    task.rawValue.databaseValue, instance.databaseValue, now.databaseValue,
                    now.advanced(bySeconds: Int64(lease)).databaseValue,
                    now.advanced(bySeconds: -Int64(interval)).databaseValue,
                ]
            ) { $0[0] as Int64 }
        }
    }

    /// Sets the lease of a run to expire `lease` seconds from now; 0: now.
    public func extend(_ task: ScheduledTask.Name, run: Int64, lease: Int) async throws(StoreError) -> Bool {
        try await self.write { database in
            let until = try database.clock().advanced(bySeconds: Int64(lease))
            try database.run(
                "UPDATE hub_tasks SET leased_until = ? WHERE name = ? AND run = ? AND leased_until IS NOT NULL",
                [until.databaseValue, task.rawValue.databaseValue, run.databaseValue])
            return database.changesCount > 0
        }
    }

    /// Stores the result of a run and ends its lease.
    @discardableResult
    public func end(
        _ task: ScheduledTask.Name, run: Int64, _ result: TaskRecord.Result
    ) async throws(StoreError) -> Bool {
        try await self.write { database in
            try database.run(
                """
                UPDATE hub_tasks SET leased_until = NULL, ended_at = ?, milliseconds = ?, problems = ?, failure = ?
                WHERE name = ? AND run = ?
                """,
                [
                    try database.clock().databaseValue, result.milliseconds.databaseValue, result.problems.databaseValue,
                    result.failure?.databaseValue ?? .null, task.rawValue.databaseValue, run.databaseValue,
                ])
            return database.changesCount > 0
        }
    }
}

extension TaskRecord {
    /// Decodes the columns `name, run, instance, begun_at, leased_until, ended_at, milliseconds, problems, failure`.
    fileprivate init(_ row: Row, now: Timestamp) {
        let begun: Int64 = row[3]
        let leasedUntil: Int64? = row[4]
        let endedAt: Int64? = row[5]
        self.init(
            name: row[0], run: row[1], instance: row[2], age: (now.milliseconds - begun) / 1_000,
            isRunning: leasedUntil.map { $0 > now.milliseconds } ?? false,
            isInterrupted: leasedUntil.map { $0 <= now.milliseconds } ?? false,
            ended: endedAt.map { moment in
                (
                    at: Timestamp(milliseconds: moment),
                    result: Result(milliseconds: row[6] ?? 0, problems: row[7] ?? 0, failure: row[8])
                )
            })
    }
}
