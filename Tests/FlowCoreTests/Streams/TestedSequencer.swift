import FlowCore

/// The sequencer that the model runs: as it is, or with a defect that the model must detect.
struct TestedSequencer: ~Copyable {
    private var inner = Sequencer()
    /// Whether the sequencer skips missing versions instead of reading them from the store.
    private let skipsGaps: Bool

    init(skipsGaps: Bool) { self.skipsGaps = skipsGaps }

    var last: Version? { self.inner.last }

    mutating func received(_ event: FlowEvent) -> Sequencer.Step {
        let step = self.inner.received(event)
        guard self.skipsGaps, case .page? = step.read else { return step }
        // As if the missing versions had been pruned.
        return self.inner.pageLoaded(Sample.page(event.version...event.version, head: event.version))
    }

    mutating func headLoaded(_ version: Version) -> Sequencer.Step { self.inner.headLoaded(version) }
    mutating func pageLoaded(_ page: EventPage) -> Sequencer.Step { self.inner.pageLoaded(page) }
    mutating func sweepReported(_ version: Version) -> Sequencer.Step { self.inner.sweepReported(version) }
    mutating func readFailed() { self.inner.readFailed() }
}
