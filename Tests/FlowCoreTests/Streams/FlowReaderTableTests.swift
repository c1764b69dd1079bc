import FlowCore
import Testing

extension CoreStreams {
    /// Checks the reader's outcome for every combination of state and input. A reader with a position has cursor 5, and the
    /// flow's head is 8.
    @Suite struct FlowReaderTableTests {
        enum Start: CaseIterable { case needsSnapshot, awaitsSnapshot, behind, awaitsPage, live, ended }

        enum Input: CaseIterable {
            case next, nextUnwritable, snapshot8, page6to8, page7to8, emptyPage5, emptyPage4, failed, offer5, offer6, offer7
            case fellBehind, reset, end
        }

        private static func reader(in start: Start) -> FlowReader {
            var reader = FlowReader(start == .needsSnapshot || start == .awaitsSnapshot ? .snapshot : .head, head: 5)
            switch start {
            case .needsSnapshot, .behind: break
            case .awaitsSnapshot, .awaitsPage: _ = reader.next(head: 8, isWritable: true)
            case .live: _ = reader.next(head: 5, isWritable: true)
            case .ended: reader.end()
            }
            return reader
        }

        /// The result of the input, and the cursor after it.
        private static func outcome(of input: Input, in start: Start) -> (String, Version) {
            var reader = Self.reader(in: start)
            let result =
                switch input {
                case .next: "\(reader.next(head: 8, isWritable: true))"
                case .nextUnwritable: "\(reader.next(head: 8, isWritable: false))"
                case .page6to8: "\(reader.pageLoaded(versions: 6...8, storeHead: 8))"
                case .page7to8: "\(reader.pageLoaded(versions: 7...8, storeHead: 8))"
                case .emptyPage5: "\(reader.pageLoaded(versions: nil, storeHead: 5))"
                case .emptyPage4: "\(reader.pageLoaded(versions: nil, storeHead: 4))"
                case .offer5: "\(reader.offer(5))"
                case .offer6: "\(reader.offer(6))"
                case .offer7: "\(reader.offer(7))"
                case .snapshot8, .failed, .fellBehind, .reset, .end: Self.apply(&reader, input)
                }
            return (result, reader.cursor)
        }

        private static func apply(_ reader: inout FlowReader, _ input: Input) -> String {
            switch input {
            case .snapshot8: _ = reader.snapshotLoaded(version: 8)
            case .failed: reader.loadFailed()
            case .fellBehind: reader.fellBehind()
            case .reset: reader.reset(.epoch)
            default: reader.end()
            }
            return "then \(reader.next(head: 8, isWritable: true))"
        }

        private static func expected(_ input: Input, in start: Start) -> String {
            switch (start, input) {
            case (_, .nextUnwritable): "wait"
            case (_, .end): "then wait"
            case (.ended, .next): "wait"
            case (.ended, .snapshot8), (.ended, .failed), (.ended, .fellBehind), (.ended, .reset): "then wait"
            case (_, .reset): "then loadSnapshot"
            case (.needsSnapshot, .next): "loadSnapshot"
            case (.behind, .next): "loadPage(after: 5)"
            case (_, .next): "wait"
            case (.awaitsPage, .page6to8): "send(from: 0)"
            case (.awaitsPage, .page7to8): "resync(\(ResyncReason.historyPruned.debug))"
            case (.awaitsPage, .emptyPage5): "send(from: 0)"
            case (.awaitsPage, .emptyPage4): "resync(\(ResyncReason.cursorAhead.debug))"
            case (_, .page6to8), (_, .page7to8), (_, .emptyPage5), (_, .emptyPage4): "ignore"
            case (.live, .offer6): "accept"
            case (.live, .offer7): "fallBehind"
            case (_, .offer5), (_, .offer6), (_, .offer7): "discard"
            case (.awaitsSnapshot, .snapshot8): "then goLive(sendsCaughtUp: true)"
            case (.awaitsSnapshot, .failed), (.needsSnapshot, _): "then loadSnapshot"
            case (.awaitsSnapshot, .fellBehind): "then wait"
            case (.behind, _), (.awaitsPage, .failed), (.live, .fellBehind): "then loadPage(after: 5)"
            case (.awaitsPage, _), (.live, _): "then wait"
            case (.awaitsSnapshot, _), (.ended, _): "?"
            }
        }

        @Test(arguments: Start.allCases, Input.allCases)
        func outcomeMatchesTableForEveryStateAndInput(_ start: Start, _ input: Input) {
            let (result, cursor) = Self.outcome(of: input, in: start)
            #expect(result == Self.expected(input, in: start))
            let moves: Version? =
                switch (start, input) {
                case (.awaitsSnapshot, .snapshot8), (.awaitsPage, .page6to8): 8
                case (.live, .offer6): 6
                default: nil
                }
            let before: Version = start == .needsSnapshot || start == .awaitsSnapshot ? 0 : 5
            #expect(cursor == moves ?? before)
        }
    }
}

extension ResyncReason {
    fileprivate var debug: String { "FlowCore.ResyncReason.\(self)" }
}
