import FlowCore
import FlowTestKit
import Foundation

/// The legacy service (`legacy_service`, Python) as a process beside the hubs, on the same Redis, Postgres and S3 server.
struct LegacyService: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let caller: HTTPCaller
    private let process: ChildProcess

    /// Runs the service for the duration of the body, then ends it.
    /// - Parameter environment: the service's variables, as in `legacy_service/settings.py`. `DATABASE_URL` may be in the hub's
    ///   form, `postgres://…`.
    static func running<Result>(
        _ environment: [String: String], _ body: (LegacyService) async throws -> Result
    ) async throws -> Result {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        var own = environment
        own["PYTHONPATH"] = Repository.path("Tests/SystemTests/Migration")
        own["PYTHONDONTWRITEBYTECODE"] = "1"
        if let url = own["DATABASE_URL"], let scheme = url.range(of: "://") {
            own["DATABASE_URL"] = "postgresql+asyncpg" + url[scheme.lowerBound...]
        }
        let port = try FreePort.choose()
        let process = try ChildProcess(
            try TestTools.program("python"), ["-m", "legacy_service", String(port)], environment: own, folder: folder.path)
        let service = LegacyService(caller: HTTPCaller(port: port), process: process)
        do {
            try await eventually("the legacy service to listen") {
                guard process.exit == nil else { throw Failure(description: process.errorOutput) }
                return (try? await service.caller.perform(HTTPCall("POST", "/", body: []))) != nil
            }
            let result = try await body(service)
            await process.destroy()
            return result
        } catch {
            await process.destroy()
            throw error
        }
    }

    /// Calls a function of the service, such as `redis_cache.get_sse_connections`.
    /// - Parameter arguments: a JSON object with the function's named arguments.
    /// - Throws: ``Failure`` with Python's traceback if the function raised.
    @discardableResult
    func call(_ function: String, _ arguments: String = "{}") async throws -> JSONText {
        let body = #"{"call":"\#(function)","arguments":\#(arguments)}"#
        let reply = try await self.caller.perform(HTTPCall("POST", "/", body: Array(body.utf8)), within: .seconds(60))
        guard reply.status == 200, let result = reply.json.member("result") else {
            throw Failure(description: "\(function): \(reply.json.member("error")?.stringValue ?? reply.text)")
        }
        return result
    }
}
