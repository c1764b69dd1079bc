import Logging

/// Ledger rows that contradict themselves, because another program has changed them: a provider that does not fit the location,
/// an unknown provider, a location without an object. They are read by what is really there.
extension ImportService {
    /// The object store that has the import's object. If the ledger names a provider that no object store has, that is the one
    /// of this process.
    /// - Throws: ``ImportError/storeNotConfigured(_:)`` if the object is in another store than that of this process.
    func objectStore(of entry: Import) throws(ImportError) -> any ObjectStore {
        guard let objects = self.objects, objects.provider == entry.provider || !entry.hasKnownObjectStore else {
            throw .storeNotConfigured(entry.provider)
        }
        return objects
    }

    /// The import as one whose records are rows, if its object does not exist and the rows are certainly all records.
    /// - Returns: `nil` if the records are rows anyway, if the object exists, if rows are missing, or if the ledger's encryption
    ///   is that of an object: it decrypts no rows.
    func rowsInPlaceOfObject(of entry: Import) async throws(ImportError) -> Import? {
        guard let location = entry.location, try await !self.hasObject(location, of: entry),
            try await self.rowCounts(of: entry).isWhole(entry.totalRecords)
        else { return nil }
        if entry.encryption != nil, try await self.recordsOfHubObject(of: entry) != nil { return nil }
        if let count = self.missingObjectLog.add() {
            self.logger.warning(
                "Import's object is missing; reading its rows instead",
                metadata: ["import_id": "\(entry.id)", "key": "\(location)", "reads": .stringConvertible(count)])
        }
        var rows = entry
        (rows.location, rows.provider) = (nil, self.records.provider)
        return rows
    }

    /// Whether the object exists. `false` also if the location cannot be an object's key.
    func hasObject(_ location: String, of entry: Import) async throws(ImportError) -> Bool {
        let objects = try self.objectStore(of: entry)
        do throws(ObjectError) {
            return try await objects.head(location) != nil
        } catch .invalid {
            return false
        } catch {
            throw .objects(error)
        }
    }

    /// The number of records of the object that a hub wrote last for the import, even if the location is that of another
    /// object by now; `nil` if no hub wrote one.
    func recordsOfHubObject(of entry: Import) async throws(ImportError) -> Int? {
        do throws(StoreError) { return try await self.ledger.index(of: entry.id)?.recordCount } catch { throw .store(error) }
    }

    /// Whether the ledger's encryption may be that of another object than the one at the location: another program has changed
    /// the location. Only that object can then be decrypted.
    func isEncryptedElsewhere(_ entry: Import) async throws(ImportError) -> Bool {
        guard entry.encryption != nil else { return false }
        guard let location = entry.location else { return try await self.recordsOfHubObject(of: entry) != nil }
        return !(entry.storage?.isOfHub(for: location) ?? false)
    }

    /// Which rows the import has.
    func rowCounts(of entry: Import) async throws(ImportError) -> RowCounts {
        do throws(StoreError) { return try await self.records.rowCounts(of: entry.id) } catch { throw .store(error) }
    }

    /// Whether an error concerns only the import that was read or changed, so that others can be tried: the stores answer
    /// other requests.
    public func concernsOneImport(_ error: ImportError, _ id: ImportID) async -> Bool {
        switch error {
        case .damaged, .claimLost, .storeNotConfigured, .keyMissing, .keyDiffers, .objects(.invalid), .objects(.exists),
            .objects(.notFound),
            .objects(.corrupted):
            return true
        case .store:
            do throws(StoreError) { return try await self.ledger.load(id) != nil } catch { return false }
        case .objects:
            guard let objects = self.objects else { return true }
            do throws(ObjectError) {
                _ = try await objects.list(prefix: "imports/", after: nil, limit: 1)
                return true
            } catch {
                return false
            }
        default: return false
        }
    }
}

extension Import {
    /// The providers of all object stores that a hub may use.
    private static let objectProviders: Set<String> = ["r2", "folder"]

    /// Whether an object store of a hub has this provider.
    var hasKnownObjectStore: Bool { Self.objectProviders.contains(self.provider) }
}
