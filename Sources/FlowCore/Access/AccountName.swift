/// Names of locks and mapping patterns in a store that all accounts share.
public enum AccountName {
    /// The stored name of an account's lock or mapping pattern. No two accounts share one, because neither an account nor a
    /// name contains a slash.
    ///
    /// The names of the legacy account are stored as they are, because the legacy service uses the same ones. Without one they
    /// are those of account `0`, the only account of a hub without keys.
    /// - Parameters:
    ///   - name: a lock's resource, or the key of a mapping pattern.
    ///   - legacyAccount: the account that shares its names with the legacy service.
    public static func stored(_ name: String, account: String, legacyAccount: String? = nil) -> String {
        account == (legacyAccount ?? Principal.open.account) ? name : "\(account)/\(name)"
    }

    /// The stored name, and after it the one under which an instance with another legacy account, or an earlier version of the
    /// hub, stores it; see ``stored(_:account:legacyAccount:)``.
    public static func all(_ name: String, account: String, legacyAccount: String? = nil) -> [String] {
        let stored = Self.stored(name, account: account, legacyAccount: legacyAccount)
        return [stored, stored == name ? "\(account)/\(name)" : name]
    }
}
