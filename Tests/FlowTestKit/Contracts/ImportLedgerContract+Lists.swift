import FlowCore
import Testing

extension ImportLedgerContract {
    static let lists: [Case] = [
        Case("lists imports of an account, latest first, page by page") { subject in
            var drafts: [ImportDraft] = []
            for number in 0..<25 {
                // Up to three imports share a time of creation.
                let draft = try subject.draft(at: start.advanced(bySeconds: Int64(number / 3)))
                drafts.append(draft)
                _ = try await subject.begin(draft)
            }
            _ = try await subject.begin(try subject.draft("8"))
            let expected = drafts.sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }.map(\.id)
            var seen: [ImportID] = []
            var after: ImportID?
            while true {
                let page = try await subject.ledger.list(ImportQuery(account: "7", after: after, limit: 10))
                seen += page.imports.map(\.id)
                guard page.hasMore else { break }
                #expect(page.imports.count == 10)
                after = page.imports.last?.id
            }
            #expect(seen == expected)
            #expect(try await subject.ledger.list(ImportQuery(account: "7", after: seen.last, limit: 10)).imports == [])
            #expect(try await subject.ledger.list(ImportQuery(account: "7", after: .random(), limit: 10)).imports == [])
            #expect(try await subject.ledger.list(ImportQuery(account: "9", limit: 10)).imports == [])
        },
        Case("lists imports by flow and status, without those being deleted") { subject in
            let first = try await subject.begin(try subject.draft(flow: "a"))
            let second = try await subject.storedObject(try subject.draft(flow: "b", at: start.advanced(bySeconds: 1)))
            let third = try await subject.begin(try subject.draft(flow: nil, at: start.advanced(bySeconds: 2)), claimSeconds: 0)
            let ledger = subject.ledger
            #expect(try await ledger.list(ImportQuery(account: "7", limit: 9)).imports == [third, second, first])
            #expect(try await ledger.list(ImportQuery(account: "7", flow: try flow("b"), limit: 9)).imports == [second])
            #expect(try await ledger.list(ImportQuery(account: "7", status: .pending, limit: 9)).imports == [third, first])
            #expect(
                try await ledger.list(ImportQuery(account: "7", flow: try flow("a"), status: .stored, limit: 9)).imports == [])
            _ = try await subject.claim(third.id, to: .deleting)
            #expect(try await ledger.list(ImportQuery(account: "7", limit: 9)).imports == [second, first])
            #expect(try await ledger.list(ImportQuery(account: "7", status: .deleting, limit: 9)).imports == [])
        },
    ]

    static let maintenance: [Case] = [
        Case("returns all imports in the order of their ids") { subject in
            var ids: [ImportID] = []
            for number in 0..<12 { ids.append(try await subject.begin(try subject.draft("\(number)")).id) }
            ids.sort()
            #expect(try await subject.ledger.imports(after: nil, limit: 5).map(\.id) == Array(ids[..<5]))
            #expect(try await subject.ledger.imports(after: ids[4], limit: 100).map(\.id) == Array(ids[5...]))
        },
        Case("finds only pending and deleting imports without a claim") { subject in
            let claimed = try await subject.begin(try subject.draft())
            let unclaimed = try await subject.begin(try subject.draft(), claimSeconds: 0)
            let stored = try await subject.storedObject(try subject.draft())
            let deleting = try await subject.storedObject(try subject.draft())
            let claim = try await subject.claim(deleting.id, to: .deleting).claim
            let failed = try await subject.begin(try subject.draft())
            #expect(try await subject.ledger.fail(failed.id, claim: 1, reason: "r"))
            #expect(try await subject.ledger.abandoned(limit: 9).map(\.id) == [unclaimed.id])
            #expect(try await subject.ledger.extend(deleting.id, claim: claim, seconds: 0))
            #expect(try await subject.ledger.extend(claimed.id, claim: 1, seconds: 0))
            #expect(Set(try await subject.ledger.abandoned(limit: 9).map(\.id)) == [claimed.id, unclaimed.id, deleting.id])
            #expect(try await subject.ledger.abandoned(limit: 2).count == 2)
            #expect(try await subject.ledger.load(stored.id)?.status == .stored)
        },
        Case("imports whose cleanup was tried come after those that wait for it, the last one last") { subject in
            var ids: [ImportID] = []
            for _ in 0..<4 {
                let begun = try await subject.begin(try subject.draft())
                #expect(try await subject.ledger.extend(begun.id, claim: 1, seconds: 0))
                ids.append(begun.id)
            }
            // An attempt that fails leaves its claim.
            func attempt(_ id: ImportID) async throws {
                let all = Set(Import.Status.allCases)
                #expect(try await subject.ledger.claim(id, from: all, to: nil, seconds: 1) != nil)
                try await eventually("the claim to expire", every: .milliseconds(50)) {
                    try await subject.ledger.abandoned(limit: 9).contains { $0.id == id }
                }
            }
            #expect(try await subject.ledger.abandoned(limit: 2).map(\.id) == Array(ids[..<2]))
            try await attempt(ids[1])
            try await attempt(ids[0])
            #expect(try await subject.ledger.abandoned(limit: 3).map(\.id) == [ids[2], ids[3], ids[1]])
        },
        Case("finds imports that failed before a moment") { subject in
            let failed = try await subject.begin(try subject.draft())
            _ = try await subject.storedObject(try subject.draft())
            _ = try await subject.begin(try subject.draft())
            #expect(try await subject.ledger.fail(failed.id, claim: 1, reason: "r"))
            let later = start.advanced(bySeconds: 3_153_600_000)
            #expect(try await subject.ledger.failed(before: start, limit: 9) == [])
            #expect(try await subject.ledger.failed(before: later, limit: 9).map(\.id) == [failed.id])
            _ = try await subject.claim(failed.id, to: .deleting)
            #expect(try await subject.ledger.failed(before: later, limit: 9) == [])
        },
        Case("finds unannounced imports without a claim, longest waiting first") { subject in
            let first = try await subject.begin(try subject.draft())
            let second = try await subject.begin(try subject.draft())
            let third = try await subject.begin(try subject.draft())
            _ = try await subject.storedObject(try subject.draft(flow: nil))
            #expect(try await subject.ledger.unannounced(limit: 9) == [])
            let done = result(try numbered(1), hasObject: true)
            #expect(try await subject.ledger.finish(third.id, claim: 1, done))
            try await subject.waitForClockToAdvance()
            #expect(try await subject.ledger.fail(first.id, claim: 1, reason: "r"))
            try await subject.waitForClockToAdvance()
            #expect(try await subject.ledger.finish(second.id, claim: 1, done))
            #expect(try await subject.ledger.unannounced(limit: 9).map(\.id) == [third.id, first.id, second.id])
            #expect(try await subject.ledger.unannounced(limit: 1).map(\.id) == [third.id])
            let claim = try await subject.claim(second.id).claim
            #expect(try await subject.ledger.unannounced(limit: 9).map(\.id) == [third.id, first.id])
            try await subject.ledger.markAnnounced(third.id)
            try await subject.ledger.markAnnounced(.random())
            #expect(try await subject.ledger.unannounced(limit: 9).map(\.id) == [first.id])
            #expect(try await subject.ledger.extend(second.id, claim: claim, seconds: 0))
            #expect(try await subject.ledger.unannounced(limit: 9).map(\.id) == [first.id, second.id])
        },
        Case("an object key is referenced until its import is removed") { subject in
            let stored = try await subject.storedObject(try subject.draft(location: "imports/x"))
            #expect(try await subject.ledger.isReferenced("imports/x"))
            #expect(try await subject.ledger.isReferenced("imports/") == false)
            let claim = try await subject.claim(stored.id, to: .deleting).claim
            #expect(try await subject.ledger.isReferenced("imports/x"))
            #expect(try await subject.ledger.remove(stored.id, claim: claim))
            #expect(try await subject.ledger.isReferenced("imports/x") == false)
        },
    ]
}
