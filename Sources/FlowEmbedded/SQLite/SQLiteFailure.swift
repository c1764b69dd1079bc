import FlowCore
import GRDB

/// A row that no version of this program wrote.
struct UnreadableRow: Error {}

extension StoreError {
    /// What a failed read, or a write that was rolled back, looks like from outside: a short reason without paths, SQL or
    /// values.
    init(rolledBack error: any Error) {
        if let error = error as? StoreError {
            self = error
        } else if let error = error as? DatabaseError {
            self = .unavailable(error.reason)
        } else if error is UnreadableRow {
            self = .unavailable("the database holds a row that cannot be read")
        } else {
            self = .unavailable("the database failed")
        }
    }

    /// What a failed COMMIT looks like from outside.
    ///
    /// Refused for want of a lock or of space, nothing was written that counts. After any other failure the frames may
    /// have reached the log: this process goes on without them, but a restart may find them.
    init(failedCommit error: any Error) {
        guard let error = error as? DatabaseError else {
            self = .outcomeUnknown("the commit failed")
            return
        }
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_FULL, .SQLITE_CONSTRAINT: self = .unavailable(error.reason)
        default: self = .outcomeUnknown(error.reason)
        }
    }
}

extension DatabaseError {
    var reason: String {
        switch self.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED: "the database is locked by another process"
        case .SQLITE_FULL: "the disk is full"
        case .SQLITE_IOERR: "the disk failed"
        case .SQLITE_READONLY, .SQLITE_PERM: "the database cannot be written"
        case .SQLITE_CANTOPEN: "the database cannot be opened"
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: "the database is damaged"
        case .SQLITE_NOMEM: "out of memory"
        case .SQLITE_MISUSE: "the store is closed"
        default: "the database refused it (SQLite code \(self.extendedResultCode.rawValue))"
        }
    }

    /// Whether one operation of a batch may be to blame, so that its neighbours are worth another try without it.
    var mayConcernOneOperation: Bool {
        switch self.resultCode {
        case .SQLITE_CONSTRAINT, .SQLITE_TOOBIG, .SQLITE_MISMATCH, .SQLITE_RANGE, .SQLITE_ERROR: true
        default: false
        }
    }
}
