import FlowCore

/// The reader that the model runs: as it is, or with a defect that the model must detect.
struct TestedReader: ~Copyable {
    enum Fault: CaseIterable {
        /// A subscriber whose position is lost is sent no resync.
        case resyncOff
        /// A history page is sent even if events between the cursor and the page are missing.
        case pageCheckOff
        /// A slow subscriber skips the events that it was not sent while its socket was not writable.
        case slowReaderSkips
    }

    private var inner: FlowReader
    private let fault: Fault?

    init(_ startPoint: StartPoint, head: Version, fault: Fault?) {
        self.fault = fault
        if case .resync = startPoint, fault == .resyncOff {
            self.inner = FlowReader(.head, head: head)
        } else {
            self.inner = FlowReader(startPoint, head: head)
        }
    }

    var isLive: Bool { self.inner.isLive }

    mutating func next(head: Version, isWritable: Bool) -> FlowReader.Next {
        self.inner.next(head: head, isWritable: isWritable)
    }

    mutating func snapshotLoaded(version: Version) -> (reason: ResyncReason, from: Version?)? {
        let notice = self.inner.snapshotLoaded(version: version)
        return self.fault == .resyncOff ? nil : notice
    }

    mutating func pageLoaded(versions: ClosedRange<Version>?, storeHead: Version?) -> FlowReader.PageVerdict {
        if self.fault == .pageCheckOff, let versions, versions.lowerBound > self.inner.cursor {
            _ = self.inner.pageLoaded(versions: self.inner.cursor + 1...versions.upperBound, storeHead: storeHead)
            return .send(from: 0)
        }
        let verdict = self.inner.pageLoaded(versions: versions, storeHead: storeHead)
        if case .resync = verdict, self.fault == .resyncOff { return .ignore }
        return verdict
    }

    mutating func loadFailed() { self.inner.loadFailed() }

    mutating func offer(_ version: Version) -> FlowReader.OfferResult {
        if self.fault == .slowReaderSkips, self.inner.isLive { self.inner.advance(through: version - 1) }
        return self.inner.offer(version)
    }

    mutating func fellBehind() {
        if self.fault != .slowReaderSkips { self.inner.fellBehind() }
    }

    mutating func reset(_ reason: ResyncReason) { self.inner.reset(reason) }
}
