public import FlowCore

extension PostgresFlowStore: TaskLedger {
    /// Reads the records of all tasks.
    public func tasks() async throws(StoreError) -> [TaskRecord] {
        let statement = Statement(
            """
            SELECT name, run, instance, extract(epoch FROM clock_timestamp() - begun_at)::bigint,
                coalesce(leased_until > clock_timestamp(), false), coalesce(leased_until <= clock_timestamp(), false),
                ended_at, milliseconds, problems, failure
            FROM hub_tasks
            """, ParameterList())
        return try await self.runTasks(statement, isRetryable: true).rows.compactMap { row in
            guard let name = row.text(0), let run = row.int64(1), let instance = row.text(2), let age = row.int64(3),
                let isRunning = row.bool(4), let isInterrupted = row.bool(5)
            else { return nil }
            let ended = row.time(6).map { moment in
                (
                    at: moment,
                    result: TaskRecord.Result(
                        milliseconds: row.int64(7) ?? 0, problems: Int(row.int64(8) ?? 0), failure: row.text(9))
                )
            }
            return TaskRecord(
                name: name, run: run, instance: instance, age: age, isRunning: isRunning, isInterrupted: isInterrupted,
                ended: ended)
        }
    }

    /// Inserts the row of a task, or takes it over if a run is due.
    public func begin(
        _ task: ScheduledTask.Name, interval: Int, lease: Int, instance: String
    ) async throws(StoreError) -> Int64? {
        var parameters = ParameterList()
        parameters.add(task.rawValue)
        parameters.add(interval)
        parameters.add(lease)
        parameters.add(instance)
        let statement = Statement(
            """
            INSERT INTO hub_tasks AS t (name, run, instance, begun_at, leased_until)
            VALUES ($1, 1, $4, clock_timestamp(), clock_timestamp() + $3 * interval '1 second')
            ON CONFLICT (name) DO UPDATE
            SET run = t.run + 1, instance = excluded.instance, begun_at = clock_timestamp(), leased_until = excluded.leased_until
            WHERE t.leased_until <= clock_timestamp()
                OR (t.leased_until IS NULL AND (t.begun_at <= clock_timestamp() - $2 * interval '1 second'
                    OR t.begun_at > clock_timestamp()))
            RETURNING run
            """, parameters)
        return try await self.runTasks(statement).first?.int64(0)
    }

    /// Sets the lease of a run to expire `lease` seconds from now; 0: now.
    public func extend(_ task: ScheduledTask.Name, run: Int64, lease: Int) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(task.rawValue)
        parameters.add(run)
        parameters.add(lease)
        let statement = Statement(
            """
            UPDATE hub_tasks SET leased_until = clock_timestamp() + $3 * interval '1 second'
            WHERE name = $1 AND run = $2 AND leased_until IS NOT NULL RETURNING 1
            """, parameters)
        return try await self.runTasks(statement, isRetryable: true).rowCount > 0
    }

    /// Stores the result of a run and ends its lease.
    @discardableResult
    public func end(
        _ task: ScheduledTask.Name, run: Int64, _ result: TaskRecord.Result
    ) async throws(StoreError) -> Bool {
        var parameters = ParameterList()
        parameters.add(task.rawValue)
        parameters.add(run)
        parameters.add(result.milliseconds)
        parameters.add(result.problems)
        parameters.add(result.failure)
        let statement = Statement(
            """
            UPDATE hub_tasks
            SET leased_until = NULL, ended_at = clock_timestamp(), milliseconds = $3, problems = $4, failure = $5
            WHERE name = $1 AND run = $2 RETURNING 1
            """, parameters)
        return try await self.runTasks(statement, isRetryable: true).rowCount > 0
    }

    private func runTasks(_ statement: Statement, isRetryable: Bool = false) async throws(StoreError) -> ResultSet {
        do throws(PoolFailure) {
            return try await self.pool.run(.control, [statement], isRetryable: isRetryable)[0]
        } catch {
            throw StoreError(error)
        }
    }
}
