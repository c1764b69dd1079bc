import FlowCore
import FlowTestKit
import Foundation
import Testing

/// A hub for import tests, with direct access to its stores.
struct ImportHubFixture: Sendable {
    enum Kind: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case r2 = "Postgres and R2"
        case rows = "rows of Postgres"
        case embedded = "SQLite and a folder"

        var testDescription: String { self.rawValue }
    }

    let kind: Kind
    let hub: HubProcess
    let environment: [String: String]
    let server: PostgresServer?
    private let database: String?
    private let bucket: S3Bucket?
    private let r2Proxy: R2Proxy?

    /// The proxy between the hub and R2.
    var proxy: R2Proxy { get throws { try #require(self.r2Proxy, "this hub does not use R2") } }

    /// Runs a hub for the duration of the body.
    /// - Parameter database: the server for the ledger; `nil`: that of the suite.
    static func running<Result: Sendable>(
        _ kind: Kind, database server: PostgresServer? = nil, _ environment: [String: String] = [:],
        _ body: @Sendable (ImportHubFixture) async throws -> Result
    ) async throws -> Result {
        let server = kind == .embedded ? nil : try server ?? SharedPostgres.server
        let database = try await server?.createDatabase()
        var all = ["FLOWHUB_IMPORT_CLAIM_SECONDS": "4"]
        if let server, let database { all["DATABASE_URL"] = server.url(database) }
        if kind == .rows { all["R2_ENABLED"] = "false" }
        guard kind == .r2 else {
            all.merge(environment) { $1 }
            return try await HubProcess.running(all) { hub in
                try await body(
                    ImportHubFixture(
                        kind: kind, hub: hub, environment: all, server: server, database: database, bucket: nil, r2Proxy: nil))
            }
        }
        let bucket = try await SharedS3.bucket()
        return try await R2Proxy.running(before: SharedS3.server) { proxy in
            all.merge([
                "R2_ENDPOINT": proxy.endpoint, "R2_BUCKET_NAME": bucket.name, "R2_ACCESS_KEY_ID": S3Server.accessKey,
                "R2_SECRET_ACCESS_KEY": S3Server.secretKey, "FLOWHUB_R2_PART_BYTES": "5242880",
            ]) { $1 }
            all.merge(environment) { $1 }
            let environment = all
            return try await HubProcess.running(environment) { hub in
                try await body(
                    ImportHubFixture(
                        kind: kind, hub: hub, environment: environment, server: server, database: database, bucket: bucket,
                        r2Proxy: proxy))
            }
        }
    }

    // MARK: Killed hubs

    /// Runs a second hub on the same stores for the body, then kills it. An embedded hub does not share its stores: it is
    /// itself restarted for the body, and killed and restarted after it.
    func withKilledHub(
        _ environment: [String: String] = [:], _ body: @Sendable (HubProcess) async throws -> Void
    ) async throws {
        guard self.kind == .embedded else {
            return try await HubProcess.running(self.environment.merging(environment) { $1 }) { hub in
                try await body(hub)
                try await hub.kill()
            }
        }
        try await self.hub.kill()
        try await self.hub.start(adding: environment)
        try await body(self.hub)
        try await self.hub.kill()
        try await self.hub.start(adding: environment.mapValues { _ in "" })
    }

    // MARK: Stores

    /// Runs SQL in the ledger's database.
    /// - Returns: the rows, with columns separated by `|`.
    func query(_ sql: String) async throws -> [String] {
        let text: String
        if let server, let database {
            text = try await server.query(sql, in: database)
        } else {
            let program = """
                import sqlite3, sys
                store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)
                for row in store.execute(sys.argv[2]): print("|".join("" if value is None else str(value) for value in row))
                """
            text = try await TestTools.python(program, [self.hub.dataFolder + "/flowhub.sqlite", sql])
        }
        return text.split(separator: "\n").map(String.init)
    }

    /// The size of each object, by its key.
    func objects() async throws -> [String: Int] {
        if let bucket {
            return Dictionary(
                uniqueKeysWithValues: try await bucket.objects(prefix: "imports/").map { ($0.key, $0.size) })
        }
        guard self.kind == .embedded else { return [:] }
        let folder = self.objectFolder + "/stored"
        return Dictionary(
            uniqueKeysWithValues: try Self.files(in: folder).map { name in
                let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/" + name)
                return (name, (attributes[.size] as? Int) ?? -1)
            })
    }

    /// The keys of unfinished uploads.
    func uploads() async throws -> [String] {
        if let bucket { return try await bucket.uploads().map(\.key) }
        return self.kind == .embedded ? try Self.files(in: self.objectFolder + "/uploads") : []
    }

    func bytes(_ key: String) async throws -> [UInt8]? {
        if let bucket { return try await bucket.bytes(key) }
        return FileManager.default.contents(atPath: self.objectFolder + "/stored/" + key).map { Array($0) }
    }

    private var objectFolder: String { self.hub.dataFolder + "/objects" }

    private static func files(in folder: String) throws -> [String] {
        guard let names = FileManager.default.enumerator(atPath: folder) else { return [] }
        var files: [String] = []
        for case let name as String in names where names.fileAttributes?[.type] as? FileAttributeType == .typeRegular {
            files.append(name)
        }
        return files
    }
}
