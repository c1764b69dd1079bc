import FlowHTTP
import FlowObjects
import FlowPostgres
import FlowRedis
import Logging

/// What a hub uses, for the first line of its log. No secret is in it.
struct HubSummary {
    let configuration: HubConfiguration

    var metadata: Logger.Metadata {
        [
            "store": "\(self.store)", "bus": "\(self.bus)", "objects": "\(self.objects)", "keys": "\(self.keys)",
            "address": "\(self.address)", "version": "\(FlowHub.version)",
        ]
    }

    private var store: String {
        if let postgres = self.configuration.postgres { return "postgres \(postgres.summary)" }
        return "sqlite \(self.configuration.dataDirectory)"
    }

    private var bus: String {
        guard let redis = self.configuration.redis else { return "in-process" }
        return "redis \(redis.summary) from \(self.configuration.redisKey)"
    }

    private var objects: String {
        if let r2 = self.configuration.r2 { return "r2 \(r2.summary)" }
        if self.configuration.postgres != nil || !self.configuration.isR2Enabled { return "rows of the store" }
        return "folder \(self.configuration.dataDirectory)/objects"
    }

    private var keys: String {
        let access = self.configuration.access
        if access.isOpen { return "none" }
        let files = access.jwksPath.map { ["FLOWHUB_JWKS \($0)"] } ?? []
        return ((access.hmacKey == nil ? [] : ["FLOWHUB_JWT_KEY"]) + files).joined(separator: ", ")
    }

    private var address: String {
        let http = self.configuration.http
        let operations = http.operationsPort.map { ", operations \(Self.bracketed(http.operationsHost)):\($0)" } ?? ""
        return "\(Self.bracketed(http.host)):\(http.port)\(operations)"
    }

    private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
}
