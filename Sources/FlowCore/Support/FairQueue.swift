import DequeModule

/// A queue with a line for each account. The accounts take turns, so that the elements of one account delay those of another
/// by a bounded cost, however many of them wait (deficit round robin).
///
/// In each turn an account may take elements of up to ``turnCost``, plus what it left over in the turns before. An element that
/// costs more waits for several turns. A value type, protected by its owner's lock. Additions and removals take constant time,
/// and time in proportion to `cost / turnCost` if several accounts wait.
package struct FairQueue<Element> {
    fileprivate struct Line {
        var elements: Deque<Element> = []
        /// The cost that the account may take in its turn.
        var credit = 0
    }

    /// The cost that one turn adds.
    package let turnCost: Int
    /// The accounts with elements, in the order of their turns.
    private var turns: Deque<String> = []
    private var lines: [String: Line] = [:]

    package init(turnCost: Int) { self.turnCost = turnCost }

    package var isEmpty: Bool { self.turns.isEmpty }

    /// Adds an element to the end of an account's line.
    package mutating func add(_ element: Element, of account: String) {
        if self.lines[account] == nil { self.turns.append(account) }
        self.lines[account, default: Line(credit: self.turnCost)].elements.append(element)
    }

    /// Removes and returns the next element, and its cost. `nil` if no element waits, or if the next one costs more than the
    /// budget.
    package mutating func next(
        within budget: Int = .max, cost: (Element) -> Int
    ) -> (element: Element, cost: Int)? {
        while let account = self.turns.first, var line = self.lines[account], let first = line.elements.first {
            let cost = cost(first)
            // Without others there is nobody to wait for.
            guard line.credit >= cost || self.turns.count == 1 else {
                line.credit += self.turnCost
                self.lines[account] = line
                self.turns.removeFirst()
                self.turns.append(account)
                continue
            }
            if cost > budget { return nil }
            self.lines[account] = nil
            line.elements.removeFirst()
            line.credit = max(0, line.credit - cost)
            if line.elements.isEmpty { self.turns.removeFirst() } else { self.lines[account] = line }
            return (first, cost)
        }
        return nil
    }
}

extension FairQueue.Line: Sendable where Element: Sendable {}
extension FairQueue: Sendable where Element: Sendable {}
