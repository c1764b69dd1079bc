public import FlowCore

extension PostgresFlowStore {
    public var epoch: Epoch { self.keeper.epoch }

    public func refreshEpoch() async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            try await self.keeper.refresh()
            return self.epoch
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }

    public func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            try await self.keeper.raise(from: from, now: now)
            return self.epoch
        } catch {
            throw StoreError(error)
        }
    }

    public func probeWrite() async throws(StoreError) {
        do throws(PoolFailure) {
            _ = try await self.pool.run(.chores, [Statement("UPDATE hub_meta SET epoch = epoch")], isRepeatable: true)
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }
}

extension PostgresFlowStore: FencingSequence {
    public func nextFencingToken() async throws(StoreError) -> Int64 {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .chores, [Statement("SELECT nextval('hub_fencing')")], isRepeatable: true)[0]
            guard let token = result.first?.int64(0) else { throw PoolFailure(.unreadable) }
            return token
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }
}

extension PostgresFlowStore: RevocationStore {
    @discardableResult
    public func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> Revocation {
        var parameters = ParameterList()
        parameters.add(revocation.account)
        parameters.add(revocation.subject)
        parameters.add(revocation.notBefore)
        parameters.add(now)
        let statement = Statement(
            """
            INSERT INTO revocations (account, subject, not_before, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (account, subject) DO UPDATE
            SET not_before = greatest(revocations.not_before, excluded.not_before), created_at = excluded.created_at
            RETURNING account, subject, not_before
            """, parameters)
        // To do it twice is to do it once.
        do throws(PoolFailure) {
            let result = try await self.pool.run(.chores, [statement], isRepeatable: true)[0]
            guard let holds = result.first.flatMap(Self.revocation) else { throw PoolFailure(.unreadable) }
            return holds
        } catch {
            throw StoreError(error)
        }
    }

    public func revocations() async throws(StoreError) -> [Revocation] {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .chores,
                [Statement("SELECT account, subject, not_before FROM revocations ORDER BY account, subject")],
                isRepeatable: true)[0]
            return result.rows.compactMap(Self.revocation)
        } catch {
            throw StoreError(PoolFailure(error.error))
        }
    }

    /// From `account, subject, not_before`.
    private static func revocation(_ row: ResultRow) -> Revocation? {
        guard let account = row.text(0), let subject = row.text(1), let notBefore = row.int64(2) else { return nil }
        return Revocation(account: account, subject: subject, notBefore: notBefore)
    }
}
