/// An error of opening an embedded store. The description names the directory or file for the operator, and nothing of
/// its contents.
public struct EmbeddedStoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The kind of error.
    public struct Code: Hashable, Sendable {
        private enum Value { case folder, inUse, database, schema, backup }
        private let value: Value

        /// The directory cannot be created, written or locked.
        public static let folder = Code(value: .folder)
        /// Another process has locked the directory.
        public static let inUse = Code(value: .inUse)
        /// The database file cannot be opened, is damaged, or is not a database.
        public static let database = Code(value: .database)
        /// The tables cannot be created or decoded.
        public static let schema = Code(value: .schema)
        /// A backup is incomplete or damaged.
        public static let backup = Code(value: .backup)
    }

    public let code: Code
    public let description: String
}
