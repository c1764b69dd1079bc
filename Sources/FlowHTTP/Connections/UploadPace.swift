import NIOCore

/// Decides whether the upload of an import takes too long: in total, or because the client sends too little. Time in which the
/// hub itself is the slower side does not count against the client's rate.
struct UploadPace {
    enum Verdict: Equatable {
        case inTime
        /// The client sent fewer bytes than the least rate requires.
        case tooSlow
        /// The whole upload takes longer than its time limit.
        case tooLong
    }

    private let start: NIODeadline
    /// Checks in the current period at which the hub was waiting for the client. There is one check a second.
    private var secondsWaiting = 0
    /// Bytes received in the current period.
    private var bytes = 0

    init(now: NIODeadline) { self.start = now }

    /// Counts received bytes.
    mutating func received(_ bytes: Int) { self.bytes += bytes }

    /// Judges the upload. Called every second.
    /// - Parameter isWaiting: whether everything that was received has been processed, so that the hub waits for the client.
    mutating func check(now: NIODeadline, isWaiting: Bool, _ configuration: HTTPConfiguration) -> Verdict {
        guard now - self.start < .seconds(Int64(configuration.importSeconds)) else { return .tooLong }
        guard isWaiting else { return .inTime }
        self.secondsWaiting += 1
        guard self.secondsWaiting >= configuration.importGraceSeconds else { return .inTime }
        guard self.bytes >= configuration.importBytesPerSecond * configuration.importGraceSeconds else { return .tooSlow }
        self.secondsWaiting = 0
        self.bytes = 0
        return .inTime
    }
}
