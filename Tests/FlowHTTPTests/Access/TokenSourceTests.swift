import FlowHTTP
import Testing

@Suite struct TokenSourceTests {
    private func find(_ authorization: String?, _ cookie: String?, _ query: Substring?) -> String? {
        TokenSource.token(authorization: authorization, cookie: cookie, query: query).map { "\($0.source) \($0.token)" }
    }

    @Test(
        arguments: [
            ("Bearer abc", "bearer abc"), ("bearer abc", "bearer abc"), ("BEARER  abc ", "bearer abc"),
            (" Bearer\tabc", "bearer abc"),
            ("Bearer", "bearer "), ("Bearer ", "bearer "), ("Bearer a b", "bearer a b"), ("Basic dXNlcjpwYXNz", nil), ("", nil),
            ("abc", nil),
            ("Bearerabc", nil),
        ] as [(String, String?)])
    func readsBearerTokenFromHeader(_ value: String, _ expected: String?) {
        #expect(self.find(value, nil, nil) == expected)
    }

    @Test(
        arguments: [
            ("flowhub_token=abc", "cookie abc"), ("a=b; flowhub_token=abc; c=d", "cookie abc"),
            ("a=b;flowhub_token=abc", "cookie abc"),
            (#"flowhub_token="abc""#, "cookie abc"), ("flowhub_token=", "cookie "), ("flowhub_token=a=b", "cookie a=b"),
            ("flowhub_token=first; flowhub_token=second", "cookie first"), ("xflowhub_token=abc", nil),
            ("flowhub_tokenx=abc", nil),
            ("FLOWHUB_TOKEN=abc", nil), ("flowhub_token", nil), ("", nil), (";;=;", nil),
        ] as [(String, String?)])
    func readsTokenFromCookie(_ value: String, _ expected: String?) {
        #expect(self.find(nil, value, nil) == expected)
    }

    @Test(
        arguments: [
            ("access_token=abc", "query abc"), ("flow=a&access_token=abc&x=y", "query abc"),
            ("access_token=a%2Eb%2ec", "query a.b.c"),
            ("access%5Ftoken=abc", "query abc"), ("access_token=", "query "), ("access_token=%", "query %"),
            ("access_token=%zz%2", "query %zz%2"),
            ("access_token=a+b", "query a+b"), ("access_token=first&access_token=second", "query first"), ("access_token", nil),
            ("my_access_token=abc", nil), ("x=access_token=abc", nil), ("", nil), ("&&=&", nil),
        ] as [(Substring, String?)])
    func readsTokenFromQuery(_ value: Substring, _ expected: String?) {
        #expect(self.find(nil, nil, value) == expected)
    }

    @Test func headerPrecedesQueryAndQueryPrecedesCookie() {
        #expect(self.find("Bearer h", "flowhub_token=c", "access_token=q") == "bearer h")
        #expect(self.find("Basic x", "flowhub_token=c", "access_token=q") == "query q")
        #expect(self.find("Basic x", "flowhub_token=c", "a=b") == "cookie c")
        // A broken header does not fall back to the cookie.
        #expect(self.find("Bearer", "flowhub_token=c", nil) == "bearer ")
        #expect(self.find(nil, nil, nil) == nil)
    }

    @Test(arguments: [
        ("/v1/events", "/v1/events"), ("/v1/events?", "/v1/events?"), ("/v1/events?flow=a", "/v1/events?flow=a"),
        ("/v1/events?access_token=secret", "/v1/events?access_token=***"),
        ("/v1/events?access_token=secret&flow=a", "/v1/events?access_token=***&flow=a"),
        ("/v1/events?flow=a&access_token=secret#top", "/v1/events?flow=a&access_token=***#top"),
        ("/?access_token=s1&access_token=s2", "/?access_token=***&access_token=***"),
        ("/?access%5ftoken=secret", "/?access%5ftoken=***"), ("/?Access_Token=secret", "/?Access_Token=***"),
        ("/?access_token=a=b=c", "/?access_token=***"), ("/?access_token=a?b", "/?access_token=***"),
        ("/?access_token", "/?access_token"),
        ("/?access_token=", "/?access_token=***"), ("/?&&a=%zz&", "/?&&a=%zz&"),
        ("http://h/p?access_token=s", "http://h/p?access_token=***"),
        ("/access_token=path?x=1", "/access_token=path?x=1"), ("", ""),
    ])
    func redactsQueryTokenInURI(_ uri: String, _ expected: String) {
        #expect(TokenSource.redactingQueryToken(uri) == expected)
    }
}
