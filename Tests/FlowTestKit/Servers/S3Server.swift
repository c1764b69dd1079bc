import Foundation
import Synchronization

#if canImport(Glibc)
import Glibc
#endif

/// An S3 server for tests that verifies signatures, hashes and dates: OpenStack Swift with s3api, on free ports of the loopback
/// interface. It can be killed and restarted, and keeps acknowledged data.
public final class S3Server: Sendable {
    public static let region = "auto"
    public static let accessKey = "hub:writer"
    public static let secretKey = "secretkey"

    /// Port of the S3 API. Swift's internal servers use three other ports.
    public let port: Int
    public let folder: TemporaryFolder
    private let innerPorts: [Int]
    private let processes = Mutex<[ChildProcess]>([])
    private let buckets = Atomic<Int>(0)

    private static let programs = ["object", "container", "account", "proxy"]

    public var endpoint: String { "http://127.0.0.1:\(self.port)" }

    public init() throws {
        self.folder = try TemporaryFolder()
        self.port = try FreePort.choose()
        self.innerPorts = try (0..<3).map { _ in try FreePort.choose() }
    }

    /// Runs a server for the duration of the body, then stops it and removes its folder.
    public static func running<Result>(_ body: (S3Server) async throws -> Result) async throws -> Result {
        let server = try S3Server()
        do {
            try await server.create()
            try await server.start()
            let result = try await body(server)
            await server.destroy()
            return result
        } catch {
            await server.destroy()
            throw error
        }
    }

    // MARK: Lifecycle

    /// Creates the configuration.
    public func create() async throws {
        let ports = [self.port] + self.innerPorts
        let configure = try ChildProcess(
            "/bin/bash", [Self.script, "configure", self.folder.path] + ports.map(String.init),
            environment: ["FLOWHUB_TEST_TOOLS": TestTools.folder], folder: self.folder.path)
        guard try await configure.waitForExit(within: .seconds(60)) == .code(0) else {
            throw ChildProcess.Failure(description: configure.errorOutput)
        }
    }

    public func start() async throws {
        guard self.processes.withLock({ $0.isEmpty }) else {
            throw ChildProcess.Failure(description: "the S3 server is already running")
        }
        for program in Self.programs {
            let process = try ChildProcess(
                try TestTools.program("swift-\(program)-server"), ["\(self.folder.path)/etc/\(program).conf"], environment: [:],
                folder: self.folder.path)
            self.processes.withLock { $0.append(process) }
        }
        let processes = self.processes.withLock { $0 }
        for port in self.innerPorts + [self.port] {
            try await eventually("the S3 server to listen", within: .seconds(60)) {
                for process in processes {
                    guard let exit = process.exit else { continue }
                    throw ChildProcess.Failure(
                        description: "the S3 server exited at startup (\(exit)): \(process.output)\(process.errorOutput)")
                }
                return FreePort.isInUse(port)
            }
        }
    }

    /// Sends SIGKILL to all its processes and waits for their exit.
    public func kill() async throws {
        let processes = self.processes.withLock { processes in
            defer { processes = [] }
            return processes
        }
        for process in processes { process.send(SIGKILL) }
        for process in processes { _ = try await process.waitForExit() }
    }

    public func pause() { for process in self.processes.withLock({ $0 }) { process.send(SIGSTOP) } }
    public func resume() { for process in self.processes.withLock({ $0 }) { process.send(SIGCONT) } }

    public func destroy() async {
        for process in self.processes.withLock({ $0 }) { await process.destroy() }
        self.folder.remove()
    }

    // MARK: Use

    /// Creates an empty bucket.
    public func createBucket() async throws -> S3Bucket {
        let bucket = S3Bucket("test-\(self.buckets.add(1, ordering: .relaxed).newValue)", port: self.port)
        try await bucket.create()
        return bucket
    }

    private static let script: String = {
        var folder = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { folder.deleteLastPathComponent() }
        return folder.path + "/deploy/dev/s3server.sh"
    }()
}
