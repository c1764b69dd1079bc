import FlowCore
import FlowHTTP

extension Setting {
    /// The limits of what one account stores.
    static let accounts: [Setting] = [
        .number(
            "FLOWHUB_MAX_ACCOUNT_FLOWS", \.http.changeLimits.account.flows, 0...1_000_000_000,
            "Maximum flows of one account; 0: no limit."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_IDS", \.http.changeLimits.account.ids, 0...1_000_000_000,
            "Maximum flow ids of one account, those of deleted flows included; 0: no limit."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_STATE_BYTES", \.http.changeLimits.account.stateBytes, 0...1_125_899_906_842_624,
            "Maximum bytes of the states of one account's flows; 0: no limit."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_HISTORY_BYTES", \.http.changeLimits.account.historyBytes, 0...1_125_899_906_842_624,
            "Maximum bytes of the events in the history of one account's flows, and 128 for each event; 0: no limit."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_REVOCATIONS", \.http.changeLimits.account.revocations, 0...100_000_000,
            "Maximum revoked subjects of one account; 0: no limit."),
        .number(
            "FLOWHUB_MAX_ACCOUNT_WAITING_CHANGES", \.store.accountWaitingChanges, 1...1_000_000,
            "Maximum changes of one account that wait for the store or are in flight; further ones are rejected with 503.",
            defaultText: "half of FLOWHUB_MAX_WAITING_CHANGES; all of it without keys"),
        .number(
            "FLOWHUB_MAX_ACCOUNT_WAITING_BYTES", \.store.accountWaitingBytes, 524_288...68_719_476_736,
            "Maximum bytes of the changes of one account that wait for the store or are in flight, likewise.",
            defaultText: "half of FLOWHUB_MAX_WAITING_BYTES; all of it without keys"),
        .number(
            "FLOWHUB_MAX_ACCOUNT_STORED_IMPORTS", \.http.changeLimits.account.imports, 0...1_000_000_000,
            "Maximum imports of one account, failed ones included; 0: no limit."),
        .number(
            "FLOWHUB_TOMBSTONE_SECONDS", \.background.retention.tombstoneSeconds, 0...3_153_600_000,
            "Time after the deletion of a flow for which its id stays reserved, in seconds; longer while it has history. 0: for ever."
        ),
    ]
}
