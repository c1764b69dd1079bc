import FlowTestKit
import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// A Redis server in a separate network namespace, with several links to the host. Each link can be taken down: packets
/// are then lost silently. Needs root and iproute2.
struct RemoteRedis: Sendable {
    static let isAvailable = geteuid() == 0 && FileManager.default.isExecutableFile(atPath: Self.program)
    private static let program = "/usr/sbin/ip"
    private static let port = 6_379

    private let name: String
    /// Second and third byte of the addresses.
    private let net: (Int, Int)
    private let folder: TemporaryFolder

    /// Starts the server, runs the body, and removes the server and its network.
    static func running<Result>(links: Int, _ body: (RemoteRedis) async throws -> Result) async throws -> Result {
        let number = Int.random(in: 0..<65_000)
        let remote = RemoteRedis(
            name: "fh\(number)", net: (200 + number % 50, number / 256), folder: try TemporaryFolder())
        var server: ChildProcess?
        do {
            try await remote.ip("netns", "add", remote.name)
            for link in 0..<links { try await remote.make(link) }
            let process = try ChildProcess(
                Self.program,
                [
                    "netns", "exec", remote.name, "/usr/bin/redis-server", "--port", "\(Self.port)", "--bind", "0.0.0.0",
                    "--protected-mode", "no", "--save", "", "--dir", remote.folder.path,
                ], environment: [:], folder: remote.folder.path)
            server = process
            try await eventually("Redis to listen") { process.output.contains("Ready to accept connections") }
            let result = try await body(remote)
            await remote.remove(server, links)
            return result
        } catch {
            await remote.remove(server, links)
            throw error
        }
    }

    func url(_ link: Int) -> String { "redis://\(self.address(link, 2)):\(Self.port)" }

    /// Changes the far end of the link, so that the near end continues to send.
    func setLink(_ link: Int, up isUp: Bool) async throws {
        try await self.ip("-n", self.name, "link", "set", self.device(link, "r"), isUp ? "up" : "down")
    }

    private func address(_ link: Int, _ end: Int) -> String { "10.\(self.net.0).\(self.net.1).\(4 * link + end)" }
    private func device(_ link: Int, _ end: String) -> String { "\(self.name)-\(link)\(end)" }

    private func make(_ link: Int) async throws {
        let (near, far) = (self.device(link, "n"), self.device(link, "r"))
        try await self.ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        try await self.ip("addr", "add", "\(self.address(link, 1))/30", "dev", near)
        try await self.ip("-n", self.name, "addr", "add", "\(self.address(link, 2))/30", "dev", far)
        try await self.ip("link", "set", near, "up")
        try await self.setLink(link, up: true)
    }

    private func remove(_ server: ChildProcess?, _ links: Int) async {
        await server?.destroy()
        for link in 0..<links { try? await self.ip("link", "del", self.device(link, "n")) }
        try? await self.ip("netns", "del", self.name)
        self.folder.remove()
    }

    private func ip(_ arguments: String...) async throws {
        let process = try ChildProcess(Self.program, arguments, environment: [:], folder: self.folder.path)
        let exit = try await process.waitForExit()
        guard exit == .code(0) else {
            throw ChildProcess.Failure(description: "ip \(arguments.joined(separator: " ")) (\(exit)): \(process.errorOutput)")
        }
    }
}
