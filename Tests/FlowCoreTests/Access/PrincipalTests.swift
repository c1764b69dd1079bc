import FlowCore
import Testing

@Suite struct PrincipalTests {
    private static func principal(
        subscribe: [String] = [],
        publish: [String] = [],
        scopes: Set<Scope> = [],
        expiresAt: Int64? = nil
    ) -> Principal {
        Principal(
            account: "7",
            subject: "ada",
            subscribe: subscribe.compactMap { FlowPattern($0) },
            publish: publish.compactMap { FlowPattern($0) },
            scopes: scopes,
            issuedAt: 0,
            expiresAt: expiresAt
        )
    }

    @Test func subscribeAndPublishGrantsAreIndependent() throws {
        let flow = try #require(FlowID("import-1"))
        let reader = Self.principal(subscribe: ["other", "import-*"])
        #expect(reader.maySubscribe(flow))
        #expect(!reader.mayPublish(flow))
        let writer = Self.principal(publish: ["import-1"])
        #expect(!writer.maySubscribe(flow))
        #expect(writer.mayPublish(flow))
    }

    @Test func principalWithoutPatternsHasNoRights() throws {
        let flow = try #require(FlowID("a"))
        let nobody = Self.principal()
        #expect(!nobody.maySubscribe(flow) && !nobody.mayPublish(flow) && !nobody.subscribesToAll)
        #expect(Scope.allCases.allSatisfy { !nobody.has($0) })
    }

    @Test func onlyStarSubscribesToAll() {
        #expect(Self.principal(subscribe: ["a", "*"]).subscribesToAll)
        #expect(!Self.principal(subscribe: ["a*"]).subscribesToAll)
    }

    @Test func adminScopeImpliesNoOtherScope() {
        let admin = Self.principal(scopes: [.admin])
        #expect(admin.has(.admin))
        #expect(!admin.has(.locks) && !admin.has(.patterns) && !admin.has(.imports))
    }

    @Test func openPrincipalHasAllRights() throws {
        let flow = try #require(FlowID("a"))
        #expect(Principal.open.isOpen && Principal.open.account == "0" && Principal.open.subject.isEmpty)
        #expect(Principal.open.maySubscribe(flow) && Principal.open.mayPublish(flow) && Principal.open.subscribesToAll)
        #expect(Scope.allCases.allSatisfy { Principal.open.has($0) })
        #expect(!Principal.open.isExpired(now: .max, leeway: 0))
        #expect(!Self.principal().isOpen)
    }

    @Test(arguments: [(99, 0, false), (100, 0, true), (159, 60, false), (160, 60, true)] as [(Int64, Int64, Bool)])
    func expiresAtExpirationPlusLeeway(_ now: Int64, _ leeway: Int64, _ expired: Bool) {
        let principal = Self.principal(expiresAt: 100)
        #expect(principal.isExpired(now: now, leeway: leeway) == expired)
        #expect(principal.endsAt(leeway: leeway) == 100 + leeway)
    }

    @Test func maximumExpirationDoesNotOverflow() {
        #expect(Self.principal(expiresAt: .max).endsAt(leeway: 60) == .max)
    }

    @Test(arguments: [
        ("ada", true), ("auth0|5f7", true), ("Ada Lovelace", true), ("Zoë", true), ("", false), ("a\n", false),
        ("a\u{7F}", false),
        ("a\u{9B}31m", false), ("\u{0}", false), (String(repeating: "a", count: 256), true),
        (String(repeating: "a", count: 257), false),
    ])
    func validatesSubject(_ text: String, _ valid: Bool) {
        #expect(Principal.isValidSubject(text) == valid)
    }

    @Test(arguments: [
        ("42", true), ("acme:eu", true), ("", false), ("..", false), ("a/b", false), ("a b", false),
        (String(repeating: "a", count: 128), true), (String(repeating: "a", count: 129), false),
    ])
    func validatesAccount(_ text: String, _ valid: Bool) {
        #expect(Principal.isValidAccount(text) == valid)
    }
}
