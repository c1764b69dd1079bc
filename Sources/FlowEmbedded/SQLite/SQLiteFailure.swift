import FlowCore
import GRDB

/// The error of a row that lacks a value or has one that no version of FlowHub writes.
struct UnreadableRow: Error {}

extension StoreError {
    /// Maps the error of a failed read or a rolled-back write. The reason contains no paths, SQL or values.
    init(rolledBack error: any Error) {
        if let error = error as? StoreError {
            self = error
        } else if let error = error as? DatabaseError {
            self = error.resultCode == .SQLITE_TOOBIG ? .invalidValue(error.reason) : .unavailable(error.reason)
        } else if error is UnreadableRow {
            self = .unavailable("the database contains a row that cannot be decoded")
        } else {
            self = .unavailable("unexpected database error")
        }
    }

    /// Maps the error of a failed COMMIT.
    ///
    /// If it failed because of a lock, the disk space or a constraint, nothing was committed. After any other failure
    /// the changes may have reached the write-ahead log: this process continues without them, but they may reappear
    /// after a restart.
    init(failedCommit error: any Error) {
        guard let error = error as? DatabaseError else {
            self = .outcomeUnknown("the database failed to commit")
            return
        }
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_FULL, .SQLITE_CONSTRAINT: self = .unavailable(error.reason)
        default: self = .outcomeUnknown(error.reason)
        }
    }
}

extension DatabaseError {
    /// A text for the SQLite result code, without paths, SQL or values.
    var reason: String {
        switch self.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED: "the database is locked by another process"
        case .SQLITE_FULL: "the disk is full"
        case .SQLITE_IOERR: "disk I/O error"
        case .SQLITE_READONLY, .SQLITE_PERM: "the database is read-only"
        case .SQLITE_CANTOPEN: "the database cannot be opened"
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: "the database is damaged"
        case .SQLITE_NOMEM: "out of memory"
        case .SQLITE_MISUSE: "the store is closed"
        case .SQLITE_TOOBIG: "a value or a row is too large for the database"
        default: "database error (SQLite code \(self.extendedResultCode.rawValue))"
        }
    }

    /// Whether a single change of a batch may have caused the error. The other changes are then retried without it.
    var mayConcernOneOperation: Bool {
        switch self.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_TOOBIG, .SQLITE_MISMATCH, .SQLITE_RANGE, .SQLITE_ERROR: true
        default: false
        }
    }
}
