import FlowCore
import FlowTestKit
import Foundation

/// The stores that the hubs of a test use for imports.
enum ImportTopology: String, CaseIterable, Sendable {
    /// One hub with SQLite, and a folder for objects.
    case embedded
    /// Hubs on one Postgres, with the records as rows.
    case rows
    /// Hubs on one Postgres and one Redis, with objects in R2: the S3 server through the proxy.
    case r2

    var provider: String {
        switch self {
        case .embedded: "folder"
        case .rows: "postgres"
        case .r2: "r2"
        }
    }

    var hasObjects: Bool { self != .rows }
    static let withObjects: [ImportTopology] = [.embedded, .r2]
}

/// Hubs and their stores. The stores are read directly, not through the hubs.
struct ImportClusterFixture: Sendable {
    let topology: ImportTopology
    let hubs: [HubProcess]
    let database: String?
    let bucket: S3Bucket?
    private let runningProxy: R2Proxy?

    var hub: HubProcess { self.hubs[0] }
    /// The last hub. It is not ``hub`` if there are several.
    var other: HubProcess { self.hubs[self.hubs.count - 1] }

    struct Missing: Error {}

    var proxy: R2Proxy {
        get throws {
            guard let proxy = self.runningProxy else { throw Missing() }
            return proxy
        }
    }

    /// Runs `count` hubs (one if embedded) for the duration of the body.
    /// - Parameters:
    ///   - sql: SQL that runs in the new database before the first hub starts.
    ///   - redis: the Redis server of the hubs; `nil`: that of the suite, which is emptied.
    static func running<Result: Sendable>(
        _ topology: ImportTopology, hubs count: Int = 1, _ environment: [String: String] = [:], after sql: String = "",
        redis: RedisServer? = nil, _ body: @Sendable (ImportClusterFixture) async throws -> Result
    ) async throws -> Result {
        switch topology {
        case .embedded:
            return try await HubProcess.running(environment) { hub in
                try await body(
                    ImportClusterFixture(topology: topology, hubs: [hub], database: nil, bucket: nil, runningProxy: nil))
            }
        case .rows:
            let database = try await Self.database(after: sql)
            let all = environment.merging(["R2_ENABLED": "false"]) { $1 }
            return try await PostgresHubs.start(count, SharedPostgres.server.url(database), all) { hubs in
                try await body(
                    ImportClusterFixture(topology: topology, hubs: hubs, database: database, bucket: nil, runningProxy: nil))
            }
        case .r2:
            let database = try await Self.database(after: sql)
            let bucket = try await SharedS3.bucket()
            if redis == nil { try await SharedRedis.flush() }
            return try await R2Proxy.running(before: SharedS3.server) { proxy in
                var all = Self.environment(proxy, bucket)
                all["REDIS_URL"] = try redis?.url ?? SharedRedis.server.url
                all.merge(environment) { $1 }
                return try await PostgresHubs.start(count, SharedPostgres.server.url(database), all) { hubs in
                    for hub in hubs { try await hub.waitUntilDelivering() }
                    return try await body(
                        ImportClusterFixture(
                            topology: topology, hubs: hubs, database: database, bucket: bucket, runningProxy: proxy))
                }
            }
        }
    }

    private static func database(after sql: String) async throws -> String {
        let database = try await SharedPostgres.server.createDatabase()
        if !sql.isEmpty { try await SharedPostgres.server.query(sql, in: database) }
        return database
    }

    /// Settings of a hub that stores its imports in the bucket, through the proxy.
    static func environment(_ proxy: R2Proxy, _ bucket: S3Bucket) -> [String: String] {
        [
            "R2_ENDPOINT": proxy.endpoint, "R2_BUCKET_NAME": bucket.name, "R2_ACCESS_KEY_ID": S3Server.accessKey,
            "R2_SECRET_ACCESS_KEY": S3Server.secretKey,
        ]
    }

    // MARK: What is stored

    /// The keys of all objects; empty if records are rows.
    func keys() async throws -> [String] {
        if let bucket { return try await bucket.objects().map(\.key) }
        return try Self.files(below: self.hub.dataFolder + "/objects/stored")
    }

    func object(_ key: String) async throws -> [UInt8]? {
        if let bucket { return try await bucket.bytes(key) }
        return FileManager.default.contents(atPath: self.hub.dataFolder + "/objects/stored/" + key).map { Array($0) }
    }

    /// Number of unfinished uploads.
    func uploads() async throws -> Int {
        if let bucket { return try await bucket.uploads().count }
        return try Self.files(below: self.hub.dataFolder + "/objects/uploads").count
    }

    /// Number of record rows of all imports.
    func rowCount() async throws -> Int {
        Int(try await self.query("SELECT count(*) FROM raw_import_records")) ?? -1
    }

    @discardableResult
    func query(_ sql: String) async throws -> String {
        if let database { return try await SharedPostgres.server.query(sql, in: database) }
        return try await TestTools.python(
            """
            import sqlite3, sys
            with sqlite3.connect(sys.argv[1], timeout=20) as database:
                for row in database.execute(sys.argv[2]): print("|".join(map(str, row)))
            """, [self.hub.dataFolder + "/flowhub.sqlite", sql])
    }

    /// Expires every claim and, in Postgres, every lock, as time would.
    func expireClaims() async throws {
        guard self.database != nil else {
            try await self.query("UPDATE data_imports SET claimed_until = 1 WHERE claimed_until IS NOT NULL")
            return
        }
        try await self.query(
            "UPDATE data_imports SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL; DELETE FROM hub_locks"
        )
    }

    /// Replaces the bytes of an object; `nil` removes the object.
    func overwrite(_ key: String, _ bytes: [UInt8]?) async throws {
        if let bucket {
            if let bytes { try await bucket.put(key, bytes) } else { try await bucket.delete(key) }
            return
        }
        let file = self.hub.dataFolder + "/objects/stored/" + key
        try? FileManager.default.removeItem(atPath: file)
        guard let bytes else { return }
        let folder = file.split(separator: "/").dropLast().joined(separator: "/")
        try FileManager.default.createDirectory(atPath: "/" + folder, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: file))
    }

    /// Waits until no rows, objects and uploads exist. Ledger entries may remain.
    func waitUntilNothingIsLeft() async throws {
        try await eventually("all rows, objects and uploads to be deleted") {
            let rows = try await self.rowCount()
            let uploads = try await self.uploads()
            let keys = try await self.keys()
            return rows == 0 && uploads == 0 && keys.isEmpty
        }
    }

    private static func files(below folder: String) throws -> [String] {
        guard let all = FileManager.default.enumerator(atPath: folder) else { return [] }
        return all.compactMap { $0 as? String }.filter { path in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: "\(folder)/\(path)", isDirectory: &isFolder) && !isFolder.boolValue
        }.sorted()
    }
}
