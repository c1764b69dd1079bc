/// Names of locks and mapping patterns in a store that all accounts share.
public enum AccountName {
    /// The stored name of an account's lock or mapping pattern. No two accounts share one, because neither an account nor a
    /// name contains a slash.
    ///
    /// The names of account `0`, the only account of a hub without keys, are stored as they are: the legacy service uses the
    /// same ones.
    /// - Parameter name: a lock's resource, or the key of a mapping pattern.
    public static func stored(_ name: String, account: String) -> String {
        account == Principal.open.account ? name : "\(account)/\(name)"
    }
}
