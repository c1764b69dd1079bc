import HTTPTypes
import Testing

@testable import FlowHTTP

struct TrustedProxiesTests {
    private static func client(
        _ statement: TrustedProxies.Statement = .xForwardedFor, trusted: [String] = ["10.0.0.0/8", "2001:db8::/32"],
        peer: String = "10.0.0.1", said values: String...
    ) throws -> String {
        var fields = HTTPFields()
        let name = try #require(HTTPField.Name(statement.rawValue))
        for value in values { fields.append(HTTPField(name: name, value: value)) }
        return try TrustedProxies(trusted, statement: statement).client(peer: peer, fields: fields)
    }

    @Test func readsLastAddressThatIsNoTrustedProxy() throws {
        #expect(try Self.client(said: "203.0.113.9") == "203.0.113.9")
        #expect(try Self.client(said: "198.51.100.1, 203.0.113.9, 10.1.1.1") == "203.0.113.9", "the client wrote the first")
        #expect(try Self.client(said: "198.51.100.1", "203.0.113.9", "10.1.1.1,10.2.2.2") == "203.0.113.9", "one list")
        #expect(try Self.client(said: "10.9.9.9, 10.8.8.8") == "10.9.9.9", "a client in the network of the proxies")
        #expect(try Self.client(said: " 203.0.113.9:4711\t") == "203.0.113.9")
        #expect(try Self.client(said: "[2001:DB9:0::1]:443") == "2001:db9::1")
        #expect(try Self.client(said: "2001:db9::1") == "2001:db9::1")
    }

    @Test func ignoresStatementsOfOthers() throws {
        #expect(try Self.client(peer: "203.0.113.5", said: "198.51.100.1") == "203.0.113.5", "the peer is not trusted")
        #expect(try Self.client(trusted: [], said: "198.51.100.1") == "10.0.0.1", "no proxy is trusted")
        #expect(try Self.client(peer: "unknown", said: "198.51.100.1") == "unknown")
        #expect(try Self.client() == "10.0.0.1", "no field")
        var fields = HTTPFields()
        fields[try #require(.init("forwarded"))] = "for=198.51.100.1"
        let proxies = try TrustedProxies(["10.0.0.0/8"], statement: .xForwardedFor)
        #expect(proxies.client(peer: "10.0.0.1", fields: fields) == "10.0.0.1", "a field that the proxies do not write")
        #expect(try Self.client(.proxyProtocol, said: "198.51.100.1") == "10.0.0.1")
    }

    @Test(arguments: ["unknown", "", "_hidden", "203.0.113.9.1", "203.0.113", "1", "[2001:db8::1", "[::1]x", "fe80::1%eth0", ","])
    func endsAtEntryThatIsNoAddress(_ entry: String) throws {
        #expect(try Self.client(said: "198.51.100.1, \(entry)") == "10.0.0.1")
        #expect(try Self.client(said: "198.51.100.1, \(entry), 10.0.0.3") == "10.0.0.3", "the proxy that wrote the entry")
    }

    @Test func readsForwarded() throws {
        #expect(try Self.client(.forwarded, said: "for=203.0.113.9;proto=https;by=10.0.0.1") == "203.0.113.9")
        #expect(try Self.client(.forwarded, said: #"For="[2001:db9::1]:4711";proto=http, for=10.0.0.4"#) == "2001:db9::1")
        #expect(try Self.client(.forwarded, said: #"for="x,for=198.51.100.1", for=203.0.113.9"#) == "203.0.113.9")
        #expect(try Self.client(.forwarded, said: #"for=198.51.100.1, for="unclosed, for=10.0.0.4"#) != "198.51.100.1")
        #expect(try Self.client(.forwarded, said: "by=10.0.0.4;proto=https") == "10.0.0.1", "no for")
        #expect(try Self.client(.forwarded, said: "for=unknown") == "10.0.0.1")
    }

    @Test func readsBoundedNumberOfAddresses() throws {
        let many = "203.0.113.9, " + Array(repeating: "10.0.0.7", count: TrustedProxies.maximumHops).joined(separator: ",")
        #expect(try Self.client(said: many) == "10.0.0.7")
        let few = "203.0.113.9, " + Array(repeating: "10.0.0.7", count: 5).joined(separator: ",")
        #expect(try Self.client(said: few) == "203.0.113.9")
    }

    @Test func matchesNetworks() throws {
        func trusts(_ network: String, _ address: String) throws -> Bool {
            try TrustedProxies([network], statement: .forwarded).trusts(address)
        }
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"), ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"), ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"), ("2001:db8::/64", "2001:db8::ffff", "2001:db8:0:1::"), ("::/0", "10.0.0.1", "no address"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"), ("198.51.100.4/31", "198.51.100.5", "198.51.100.6"),
        ] {
            #expect(try trusts(network, inside) && !(try trusts(network, outside)), "\(network)")
        }
    }

    @Test(arguments: [
        "", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "proxy.example", "10.0.0.0/8/8", "::1/129", "10.0.0",
    ])
    func rejectsEntryThatIsNoNetwork(_ entry: String) {
        #expect(throws: AccessConfigurationError.self) { try TrustedProxies([entry], statement: .forwarded) }
    }

    @Test func trustedProxyStatesScheme() throws {
        let proto = try #require(HTTPField.Name("x-forwarded-proto"))
        let forwarded = try #require(HTTPField.Name("forwarded"))
        let cases: [(HTTPFields, Bool)] = [
            ([proto: "https"], true), ([proto: "http, HTTPS"], true), ([proto: "http"], false), ([:], false),
            ([forwarded: "for=192.0.2.1;proto=https"], true), ([forwarded: "proto=http"], false),
        ]
        for (fields, expected) in cases { #expect(TrustedProxies.stateHTTPS(fields) == expected, "\(fields)") }
    }
}
