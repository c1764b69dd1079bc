import Testing

@testable import flowhub

@Suite struct HubURLTests {
    @Test(arguments: [
        ("http://127.0.0.1:8080", true), ("http://localhost", true), ("https://LOCALHOST:1/", true), ("http://[::1]:8080", true),
        ("http://127.8.8.8", true), ("http://127.0.0.1.example.com", false), ("http://128.0.0.1", false), ("http://127.1", false),
        ("http://10.0.0.1", false), ("http://localhost.example.com", false), ("http://[::ffff:127.0.0.1]:8080", true),
        ("http://[::ffff:10.0.0.1]", false), ("http://[::]", false),
    ])
    func onlyLocalAddressesAreLoopback(text: String, isLoopback: Bool) throws {
        #expect(try HubURL(text).isLoopback == isLoopback)
    }

    @Test func keepsPathWithoutTrailingSlash() throws {
        let url = try HubURL("https://example.com/hub/")
        #expect(url.base == "https://example.com/hub")
        #expect(url.port == 443)
        #expect(url.authority == "example.com:443")
    }

    @Test(arguments: [
        "", "127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x#y", "http://x:0", "http://x:70000",
    ])
    func rejectsInvalidHubURL(text: String) {
        #expect(throws: CommandFailure.self) { try HubURL(text) }
    }
}
