import FlowCore
import FlowTestKit
import Foundation

/// Where the imports of a test go.
enum ImportTopology: String, CaseIterable, Sendable {
    /// One hub: SQLite, and a folder for objects.
    case embedded
    /// Hubs on one Postgres, with the records as rows.
    case rows
    /// Hubs on one Postgres and one Redis, with objects in R2: the S3 server behind the proxy.
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

/// Hubs, and the servers behind them, as somebody sees them who asks the servers themselves.
struct ImportClusterFixture: Sendable {
    let topology: ImportTopology
    let hubs: [HubProcess]
    let database: String?
    let bucket: S3Bucket?
    private let runningProxy: R2Proxy?

    var hub: HubProcess { self.hubs[0] }
    /// The one that is farthest from the first.
    var other: HubProcess { self.hubs[self.hubs.count - 1] }

    struct Missing: Error {}

    var proxy: R2Proxy {
        get throws {
            guard let proxy = self.runningProxy else { throw Missing() }
            return proxy
        }
    }

    /// Runs so many hubs (one if they are embedded) for the time of the body.
    /// - Parameter sql: what somebody did to the database before the first hub came.
    static func running<Result: Sendable>(
        _ topology: ImportTopology, hubs count: Int = 1, _ environment: [String: String] = [:], after sql: String = "",
        _ body: @Sendable (ImportClusterFixture) async throws -> Result
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
            try await SharedRedis.flush()
            return try await R2Proxy.running(before: SharedS3.server) { proxy in
                var all = Self.environment(proxy, bucket)
                all["REDIS_URL"] = try SharedRedis.server.url
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

    /// Of a hub that has its imports there.
    static func environment(_ proxy: R2Proxy, _ bucket: S3Bucket) -> [String: String] {
        [
            "R2_ENDPOINT": proxy.endpoint, "R2_BUCKET_NAME": bucket.name, "R2_ACCESS_KEY_ID": S3Server.accessKey,
            "R2_SECRET_ACCESS_KEY": S3Server.secretKey,
        ]
    }

    // MARK: What is stored

    /// The keys of all objects; none where records are rows.
    func keys() async throws -> [String] {
        if let bucket { return try await bucket.objects().map(\.key) }
        return try Self.files(below: self.hub.dataFolder + "/objects/stored")
    }

    func object(_ key: String) async throws -> [UInt8]? {
        if let bucket { return try await bucket.bytes(key) }
        return FileManager.default.contents(atPath: self.hub.dataFolder + "/objects/stored/" + key).map { Array($0) }
    }

    /// Uploads that are neither finished nor given up.
    func uploads() async throws -> Int {
        if let bucket { return try await bucket.uploads().count }
        return try Self.files(below: self.hub.dataFolder + "/objects/uploads").count
    }

    /// The rows that hold records.
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

    /// The time of every claim and of the movers' lock is over, as it would be after a while.
    func endClaims() async throws {
        guard self.database != nil else {
            try await self.query("UPDATE data_imports SET claimed_until = 1 WHERE claimed_until IS NOT NULL")
            return
        }
        try await self.query(
            "UPDATE data_imports SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL; DELETE FROM hub_locks"
        )
    }

    /// Puts other bytes in an object's place; `nil` removes it.
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

    /// Nothing of any import is anywhere but in the ledger.
    func waitUntilNothingIsLeft() async throws {
        try await eventually("nothing of an import to be left") {
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
