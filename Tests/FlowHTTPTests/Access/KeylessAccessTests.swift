import HTTPTypes
import Testing

@testable import FlowHTTP

struct KeylessAccessTests {
    private static func rejection(
        _ method: HTTPRequest.Method, _ path: String, host: String? = "localhost:8080", _ fields: HTTPFields = [:],
        origins: [String] = []
    ) throws -> KeylessAccess.Rejection? {
        let head = HTTPRequest(method: method, scheme: "http", authority: host, path: path, headerFields: fields)
        return KeylessAccess(cors: try CORSPolicy(origins: origins), checksHost: true).rejection(
            of: head, path: path.prefix { $0 != "?" })
    }

    @Test(arguments: [
        "localhost", "LOCALHOST", "localhost:8080", "127.0.0.1", "127.0.0.1:80", "127.255.0.254", "[::1]", "[::1]:9000",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:8080", "[0:0:0:0:0:0:0:1]",
    ])
    func answersLoopbackHosts(_ host: String) throws {
        #expect(try Self.rejection(.get, "/v1/flows", host: host) == nil)
    }

    @Test(arguments: [
        "rebind.evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost", "localhost.", "",
        "128.0.0.1",
        "127.0.0", "127.0.0.1.1", "127.0.0.256", "127.0.0.+1", "127.1", "0127.0.0.1", "2130706433", "[::2]", "[::1", "[::1]x",
        "::1",
        "localhost:80x", "localhost:80:80", "10.0.0.1", "0.0.0.0", "127.0.0.1:8080@evil",
        "[::ffff:10.0.0.1]", "[127.0.0.1]", "[::]", "[::ffff:0.0.0.0]", "::ffff:127.0.0.1", "[localhost]",
    ])
    func rejectsOtherHostsOnEveryRoute(_ host: String) throws {
        for path in ["/", "/page.js", "/v1/flows", "/health/live", "/metrics"] {
            #expect(try Self.rejection(.get, path, host: host) == .host, "\(host) \(path)")
        }
    }

    @Test func loopbackAddressesToListenOn() {
        for host in ["127.0.0.1", "127.8.8.8", "localhost", "::1", "::ffff:127.0.0.1", "::FFFF:7f00:1"] {
            #expect(ListenAddress.isLoopback(host), "\(host)")
        }
        for host in ["::", "0.0.0.0", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "10.0.0.1", "example.com", "[::1]", "127.1", ""] {
            #expect(!ListenAddress.isLoopback(host), "\(host)")
        }
    }

    @Test func answersRequestsOfPrograms() throws {
        for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete] {
            #expect(try Self.rejection(method, "/v1/flows/a/state") == nil)
        }
        #expect(try Self.rejection(.get, "/health/live", host: nil) == nil, "HTTP/1.0")
    }

    @Test func answersPagesOfOwnAndListedOrigins() throws {
        for origin in ["http://localhost:8080", "https://localhost:8080"] {
            #expect(try Self.rejection(.post, "/v1/flows/a/events", [.origin: origin]) == nil)
        }
        let listed: HTTPFields = [.origin: "http://localhost:5173"]
        #expect(try Self.rejection(.post, "/v1/flows/a/events", listed, origins: ["http://localhost:5173"]) == nil)
    }

    @Test(arguments: ["https://evil.example", "null", "", "http://localhost:5173", "http://127.0.0.1:8080", "http://localhost"])
    func rejectsPagesOfOtherOrigins(_ origin: String) throws {
        for (method, path) in [
            (HTTPRequest.Method.get, "/v1/flows"), (.post, "/v1/flows/a/events"), (.options, "/v1/flows/a/state"),
            (.get, "/v1/flows/a/events"), (.get, "/metrics"), (.get, "/health/ready"), (.post, "/"), (.get, "/nothing"),
        ] {
            #expect(try Self.rejection(method, path, [.origin: origin]) == .origin, "\(method) \(path)")
            #expect(try Self.rejection(method, path, [.origin: origin], origins: ["*"]) == .origin, "* does not name an origin")
        }
        // The files of the web UI are public.
        for path in ["/", "/?flow=a", "/page.js", "/page.css", "/favicon.svg"] {
            #expect(try Self.rejection(.get, path, [.origin: origin]) == nil, "\(path)")
        }
    }

    @Test func rejectsRequestsWithoutOriginThatAnotherSiteStarts() throws {
        func fetched(from site: String, as destination: String) throws -> HTTPFields {
            [try #require(.init("sec-fetch-site")): site, try #require(.init("sec-fetch-dest")): destination]
        }
        for site in ["cross-site", "same-site", "anything"] {
            for destination in ["image", "script", "empty", "iframe"] {
                #expect(try Self.rejection(.get, "/v1/flows", fetched(from: site, as: destination)) == .origin)
            }
            // A link in another page, which the user follows.
            #expect(try Self.rejection(.get, "/v1/flows", fetched(from: site, as: "document")) == nil)
            #expect(try Self.rejection(.post, "/v1/flows", fetched(from: site, as: "document")) == .origin)
        }
        for site in ["same-origin", "none"] {
            #expect(try Self.rejection(.get, "/v1/flows", fetched(from: site, as: "empty")) == nil)
        }
    }
}
