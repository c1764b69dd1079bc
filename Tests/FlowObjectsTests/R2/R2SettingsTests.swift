import FlowTestKit
import Foundation
import Logging
import Testing

@testable import FlowObjects

@Suite struct R2SettingsTests {
    private static let good = [
        "R2_ACCOUNT_ID": "4893d737c0b9e484dfc37ec392b5fa8a", "R2_ACCESS_KEY_ID": "id", "R2_SECRET_ACCESS_KEY": "secret",
        "R2_BUCKET_NAME": "imports",
    ]

    private static func read(_ changes: [String: String]) throws -> R2Settings? {
        let environment = Self.good.merging(changes) { $1 }
        return try R2Settings.read { environment[$0] }
    }

    @Test func unsetVariablesConfigureNoStore() throws {
        let none = try R2Settings.read { _ in nil }
        #expect(none == nil)
        let empty = try R2Settings.read { _ in "" }
        #expect(empty == nil)
    }

    @Test(arguments: [
        ([:], "https://4893d737c0b9e484dfc37ec392b5fa8a.r2.cloudflarestorage.com"),
        (["FLOWHUB_R2_JURISDICTION": "eu"], "https://4893d737c0b9e484dfc37ec392b5fa8a.eu.r2.cloudflarestorage.com"),
        (["R2_ENDPOINT": "https://Example.com:443/"], "https://example.com"),
        (["R2_ENDPOINT": "https://example.com:8443"], "https://example.com:8443"),
        (["R2_ENDPOINT": "HTTP://127.0.0.1:9000"], "http://127.0.0.1:9000"),
        (["R2_ENDPOINT": "http://127.9.8.7:80"], "http://127.9.8.7"),
        (["R2_ENDPOINT": "http://localhost:9000"], "http://localhost:9000"),
        (["R2_ENDPOINT": "http://[::1]:9000"], "http://[::1]:9000"),
        (["R2_ENDPOINT": "https://[2001:db8::1]"], "https://[2001:db8::1]"),
    ])
    func derivesEndpointFromVariables(_ changes: [String: String], _ address: String) throws {
        let settings = try #require(try Self.read(changes))
        #expect("\(settings.endpoint.scheme)://\(settings.endpoint.host)" == address)
        #expect(settings.bucket == "imports")
        #expect(settings.region == "auto")
    }

    @Test(arguments: [
        (["R2_BUCKET_NAME": ""], "R2_BUCKET_NAME"), (["R2_BUCKET_NAME": "a/b"], "R2_BUCKET_NAME"),
        (["R2_BUCKET_NAME": "Ab-c"], "R2_BUCKET_NAME"),
        (["R2_ACCOUNT_ID": ""], "R2_ACCOUNT_ID"), (["R2_ACCOUNT_ID": "evil.example.com/"], "R2_ACCOUNT_ID"),
        (["FLOWHUB_R2_JURISDICTION": "us"], "FLOWHUB_R2_JURISDICTION"),
        (["FLOWHUB_R2_JURISDICTION": "eu", "R2_ENDPOINT": "https://example.com"], "FLOWHUB_R2_JURISDICTION"),
        (["R2_ACCESS_KEY_ID": ""], "R2_ACCESS_KEY_ID"), (["R2_SECRET_ACCESS_KEY": ""], "R2_SECRET_ACCESS_KEY"),
        (["R2_SECRET_ACCESS_KEY": "a b"], "R2_ACCESS_KEY_ID"), (["R2_SESSION_TOKEN": "a\r\nb"], "R2_ACCESS_KEY_ID"),
        (["FLOWHUB_R2_CREDENTIALS": "/some/file"], "R2_ACCESS_KEY_ID"),
        (["R2_ENDPOINT": "example.com"], "R2_ENDPOINT"), (["R2_ENDPOINT": "ftp://example.com"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "http://example.com"], "R2_ENDPOINT"), (["R2_ENDPOINT": "http://127.0.0.1.example.com"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "http://127.1"], "R2_ENDPOINT"), (["R2_ENDPOINT": "http://10.0.0.1:9000"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://example.com/bucket"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://example.com?x=1"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://example.com#x"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://user:pw@example.com"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "http://127.0.0.1@example.com"], "R2_ENDPOINT"), (["R2_ENDPOINT": "https://"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://example.com:0"], "R2_ENDPOINT"), (["R2_ENDPOINT": "https://example.com:x"], "R2_ENDPOINT"),
        (["R2_ENDPOINT": "https://exa mple.com"], "R2_ENDPOINT"), (["R2_ENDPOINT": "https://a\r\nb"], "R2_ENDPOINT"),
    ])
    func rejectsInvalidSettingWithoutShowingSecret(_ changes: [String: String], _ key: String) {
        #expect {
            _ = try Self.read(changes)
        } throws: { error in
            guard let error = error as? R2SettingsError else { return false }
            return error.key == key && !error.description.contains("secret")
        }
    }

    @Test func rejectsMissingCertificateFile() async throws {
        var settings = try #require(try Self.read([:]))
        settings.authorities = "/nothing/there.pem"
        #expect {
            _ = try R2ObjectStore(settings, logger: Logger(label: "test"), now: TestStore.now)
        } throws: { error in
            (error as? R2SettingsError)?.key == "FLOWHUB_R2_CA"
        }
    }

    @Test func descriptionsNeverContainCredentials() {
        let credentials = R2Credentials(accessKeyID: "the-id", secretAccessKey: "the-secret", sessionToken: "the-token")
        for text in [
            "\(credentials)", String(reflecting: credentials), String(describing: Mirror(reflecting: credentials).children),
        ] {
            #expect(!text.contains("the-"))
        }
    }

    // MARK: Credentials file

    private static func write(_ path: String, _ text: String) throws {
        // Replaces the file atomically, as an operator should.
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    private static func json(_ id: String) -> String { "{\"access_key_id\": \"\(id)\", \"secret_access_key\": \"s-\(id)\"}" }

    @Test func reloadsChangedCredentialsFile() throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let path = folder.path + "/keys"
        try Self.write(path, Self.json("one"))
        let provider = try CredentialsProvider(.file(path), logger: Logger(label: "test"))
        let start = ContinuousClock.now
        #expect(provider.current(now: start).credentials.accessKeyID == "one")
        #expect(provider.current(now: start).changedAt == nil)

        try Self.write(path, Self.json("second"))
        // The file is checked at most once a second.
        #expect(provider.current(now: start + .milliseconds(100)).credentials.accessKeyID == "one")
        let later = start + .seconds(5)
        let (changed, changedAt) = provider.current(now: later)
        #expect(changed == R2Credentials(accessKeyID: "second", secretAccessKey: "s-second"))
        #expect(changedAt == later)

        // An incomplete file is ignored.
        try Self.write(path, "{\"access_key_id\": \"thi")
        #expect(provider.current(now: later + .seconds(2)).credentials.accessKeyID == "second")
        try FileManager.default.removeItem(atPath: path)
        #expect(provider.current(now: later + .seconds(4)).credentials.accessKeyID == "second")

        // After a rejection, the file is checked immediately.
        try Self.write(path, Self.json("third"))
        #expect(provider.recheck(changed, now: later + .milliseconds(4_100)))
        #expect(provider.current(now: later + .milliseconds(4_200)).credentials.accessKeyID == "third")
        #expect(!provider.recheck(provider.current().credentials, now: later + .milliseconds(4_300)))
    }

    @Test(arguments: ["", "{}", "[]", "{\"access_key_id\": \"a\"}", "{\"access_key_id\": \"a b\", \"secret_access_key\": \"c\"}"])
    func rejectsInvalidOrMissingCredentialsFile(_ text: String) throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        try Self.write(folder.path + "/keys", text)
        #expect(throws: R2SettingsError.self) {
            _ = try CredentialsProvider(.file(folder.path + "/keys"), logger: Logger(label: "test"))
        }
        #expect(throws: R2SettingsError.self) {
            _ = try CredentialsProvider(.file(folder.path + "/nothing"), logger: Logger(label: "test"))
        }
    }
}
