/// Why an embedded store could not be opened. Its text is for the operator who named the folder: it says which folder, and
/// nothing of what is in it.
public struct EmbeddedStoreError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        private enum Value { case folder, inUse, database, schema }
        private let value: Value

        /// The folder cannot be made or written to.
        public static let folder = Code(value: .folder)
        /// Another hub is running on the folder.
        public static let inUse = Code(value: .inUse)
        /// The file cannot be opened, is damaged or no database.
        public static let database = Code(value: .database)
        /// The tables cannot be made, or what they hold cannot be read.
        public static let schema = Code(value: .schema)
    }

    public let code: Code
    public let description: String
}
