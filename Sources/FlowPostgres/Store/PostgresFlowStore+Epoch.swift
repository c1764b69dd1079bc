public import FlowCore

extension PostgresFlowStore {
    /// The epoch that this process has adopted.
    public var epoch: Epoch { self.epochManager.epoch }

    /// Adopts the stored epoch, and raises it first if the database was restored or failed over.
    /// - Returns: the adopted epoch.
    public func refreshEpoch() async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            try await self.epochManager.refresh()
            return self.epoch
        } catch {
            // The next call adopts what is stored.
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }

    /// Raises the stored epoch if it still is `from`, and adopts the stored one.
    /// - Returns: the adopted epoch.
    public func raiseEpoch(from: Epoch, now: Timestamp) async throws(StoreError) -> Epoch {
        do throws(PoolFailure) {
            try await self.epochManager.raise(from: from, now: now)
            return self.epoch
        } catch {
            throw StoreError(error)
        }
    }

    /// Whether the latest connection to the database was read-only.
    public var isReadOnly: Bool { self.pool.isReadOnly }

    /// Updates the row of `hub_meta` to the same value. This fails if the database accepts no writes.
    public func probeWrite() async throws(StoreError) {
        do throws(PoolFailure) {
            _ = try await self.pool.run(.control, [Statement("UPDATE hub_meta SET epoch = epoch")], isRetryable: true)
        } catch {
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }
}

extension PostgresFlowStore: FencingSequence {
    /// Sets the sequence with a margin, so that tokens that other connections draw meanwhile stay below it.
    public func advanceFencing(beyond token: Int64) async throws(StoreError) {
        var parameters = ParameterList()
        parameters.add(token)
        let statement = Statement(
            "SELECT setval('hub_fencing', $1 + \(Self.fencingMargin)) WHERE nextval('hub_fencing') <= $1", parameters)
        do throws(PoolFailure) {
            _ = try await self.pool.run(.control, [statement], isRetryable: true)
        } catch {
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }

    /// Allocates the next value of the sequence `hub_fencing`. If the connection is lost, the statement is sent once
    /// more, and a token may remain unused.
    public func nextFencingToken() async throws(StoreError) -> Int64 {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .control, [Statement("SELECT nextval('hub_fencing')")], isRetryable: true)[0]
            guard let token = result.first?.int64(0) else { throw PoolFailure(.unreadable) }
            return token
        } catch {
            throw StoreError(error.withoutEffect(.isRepeatable))
        }
    }
}

extension PostgresFlowStore: RevocationStore {
    /// Stores the revocation. If the subject has one already, the later `notBefore` of the two stays. The revocation of all
    /// subjects of an account has no limit, and takes the place of those that it covers.
    /// - Returns: the revocation in effect, or that the account has revoked the maximum number of subjects.
    @discardableResult
    public func revoke(_ revocation: Revocation, now: Timestamp) async throws(StoreError) -> RevocationOutcome {
        let limit = self.accountLimits.revocations
        var parameters = ParameterList()
        parameters.add(revocation.account)
        parameters.add(revocation.subject)
        parameters.add(revocation.notBefore)
        parameters.add(now)
        parameters.add(limit)
        let statement = Statement(
            """
            WITH covered AS (
                DELETE FROM revocations WHERE ctid = ANY (ARRAY (
                    SELECT ctid FROM revocations WHERE $2 = '' AND account = $1 AND subject <> '' AND not_before <= $3
                    LIMIT \(Revocation.absorbedAtOnce)))
            )
            INSERT INTO revocations (account, subject, not_before, created_at)
            SELECT $1, $2, $3, $4 WHERE $5 = 0 OR $2 = ''
                OR (SELECT coalesce(sum(revocations), 0) FROM account_usage WHERE account = $1) < $5
                OR EXISTS (SELECT 1 FROM revocations WHERE account = $1 AND subject = $2)
            ON CONFLICT (account, subject) DO UPDATE
            SET not_before = greatest(revocations.not_before, excluded.not_before), created_at = excluded.created_at
            RETURNING account, subject, not_before
            """, parameters)
        // Retryable, because a second execution stores the same `notBefore`.
        do throws(PoolFailure) {
            let result = try await self.pool.run(.control, [statement], isRetryable: true)[0]
            guard let row = result.first else { return .limitReached(limit) }
            guard let effective = Self.revocation(row) else { throw PoolFailure(.unreadable) }
            return .stored(effective)
        } catch {
            throw StoreError(error)
        }
    }

    /// Reads all revocations of all accounts.
    public func revocations() async throws(StoreError) -> [Revocation] {
        do throws(PoolFailure) {
            let result = try await self.pool.run(
                .control,
                [Statement("SELECT account, subject, not_before FROM revocations ORDER BY account, subject")],
                isRetryable: true)[0]
            return result.rows.compactMap(Self.revocation)
        } catch {
            throw StoreError(error.withoutEffect(.isRead))
        }
    }

    /// Decodes the columns `account, subject, not_before`; `nil` if one of them is NULL.
    private static func revocation(_ row: ResultRow) -> Revocation? {
        guard let account = row.text(0), let subject = row.text(1), let notBefore = row.int64(2) else { return nil }
        return Revocation(account: account, subject: subject, notBefore: notBefore)
    }
}
