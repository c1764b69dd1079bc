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
    /// The account whose turn it is, and its line; `nil` if no element waits. It is not in ``lines``, so that nothing is looked up
    /// while only one account has elements.
    private var current: (account: String, line: Line)?
    /// The other accounts with elements, in the order of their turns.
    private var turns: Deque<String> = []
    /// The lines of the accounts in ``turns``.
    private var lines: [String: Line] = [:]

    package init(turnCost: Int) { self.turnCost = turnCost }

    package var isEmpty: Bool { self.current == nil }

    /// Adds an element to the end of an account's line.
    package mutating func add(_ element: Element, of account: String) {
        if self.current == nil {
            self.current = (account, Line(elements: [element], credit: self.turnCost))
        } else if self.current?.account == account {
            self.current?.line.elements.append(element)
        } else {
            if self.lines[account] == nil { self.turns.append(account) }
            self.lines[account, default: Line(credit: self.turnCost)].elements.append(element)
        }
    }

    /// Removes and returns the next element, and its cost. `nil` if no element waits, or if the next one costs more than the
    /// budget.
    package mutating func next(
        within budget: Int = .max, cost: (Element) -> Int
    ) -> (element: Element, cost: Int)? {
        // The line itself is not kept in a local: removing from it would copy it.
        while let first = self.current?.line.elements.first, let credit = self.current?.line.credit {
            let cost = cost(first)
            // Without others there is nobody to wait for.
            guard credit >= cost || self.turns.isEmpty else {
                self.endTurn(credit: credit + self.turnCost)
                continue
            }
            if cost > budget { return nil }
            self.current?.line.elements.removeFirst()
            self.current?.line.credit = max(0, credit - cost)
            if self.current?.line.elements.isEmpty == true { self.beginTurn() }
            return (first, cost)
        }
        return nil
    }

    /// Puts the current line behind the others and begins the next turn.
    private mutating func endTurn(credit: Int) {
        guard let (account, line) = self.current else { return }
        self.turns.append(account)
        self.lines[account] = Line(elements: line.elements, credit: credit)
        self.beginTurn()
    }

    /// Begins the turn of the account that waits longest; nobody's if none waits.
    private mutating func beginTurn() {
        self.current = nil
        if let account = self.turns.popFirst(), let line = self.lines.removeValue(forKey: account) {
            self.current = (account, line)
        }
    }
}

extension FairQueue.Line: Sendable where Element: Sendable {}
extension FairQueue: Sendable where Element: Sendable {}
