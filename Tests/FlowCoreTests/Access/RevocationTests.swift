import FlowCore
import Testing

@Suite struct RevocationTests {
    private static func principal(_ account: String, _ subject: String, issuedAt: Int64) -> Principal {
        Principal(account: account, subject: subject, subscribe: [], publish: [], scopes: [], issuedAt: issuedAt, expiresAt: nil)
    }

    @Test(arguments: [(99, true), (100, false), (101, false), (0, true)] as [(Int64, Bool)])
    func revokesOnlyTokensIssuedEarlier(_ issuedAt: Int64, _ revoked: Bool) {
        let list = RevocationList([Revocation(account: "7", subject: "ada", notBefore: 100)])
        #expect(list.isRevoked(Self.principal("7", "ada", issuedAt: issuedAt)) == revoked)
    }

    @Test func appliesToOneSubjectOfOneAccount() {
        let list = RevocationList([Revocation(account: "7", subject: "ada", notBefore: 100)])
        #expect(!list.isRevoked(Self.principal("8", "ada", issuedAt: 0)))
        #expect(!list.isRevoked(Self.principal("7", "bob", issuedAt: 0)))
        #expect(!list.isRevoked(Self.principal("7a", "da", issuedAt: 0)))
    }

    @Test func latestRevocationAppliesInAnyOrder() {
        let early = Revocation(account: "7", subject: "ada", notBefore: 100)
        let late = Revocation(account: "7", subject: "ada", notBefore: 200)
        for order in [[early, late], [late, early]] {
            let list = RevocationList(order)
            #expect(list.count == 1)
            #expect(list.isRevoked(Self.principal("7", "ada", issuedAt: 150)))
        }
    }

    @Test func insertReturnsWhetherListChanged() {
        var list = RevocationList()
        #expect(list.isEmpty)
        let changes = [100, 100, 50, 101].map { list.insert(Revocation(account: "7", subject: "ada", notBefore: $0)) }
        #expect(changes == [true, false, false, true])
    }

    @Test func openPrincipalIsNeverRevoked() {
        let list = RevocationList([Revocation(account: "0", subject: "", notBefore: .max)])
        #expect(!list.isRevoked(.open))
    }

    @Test func revocationOfAllSubjectsHitsTheAccountOnly() {
        let list = RevocationList([
            Revocation(account: "7", subject: Revocation.allSubjects, notBefore: 100),
            Revocation(account: "7", subject: "ada", notBefore: 50),
        ])
        func isRevoked(_ account: String, _ subject: String, _ issuedAt: Int64) -> Bool {
            list.isRevoked(
                Principal(
                    account: account, subject: subject, subscribe: [], publish: [], scopes: [], issuedAt: issuedAt, expiresAt: nil
                ))
        }
        #expect(isRevoked("7", "ada", 99) && isRevoked("7", "ben", 99))
        #expect(!isRevoked("7", "ada", 100) && !isRevoked("7", "ben", 100) && !isRevoked("8", "ada", 1))
    }
}
