import Foundation

/// A reverse proxy that runs a configuration of `deploy/proxy` in front of hubs. Only ports, paths and addresses of the file are
/// replaced.
public final class ReverseProxy: Sendable {
    public enum Kind: String, CaseIterable, Sendable, CustomStringConvertible {
        case nginx, haproxy, caddy

        public var description: String { self.rawValue }
    }

    public let kind: Kind
    public let port: Int
    private let process: ChildProcess
    private let folder: TemporaryFolder

    private init(_ kind: Kind, port: Int, process: ChildProcess, folder: TemporaryFolder) {
        self.kind = kind
        self.port = port
        self.process = process
        self.folder = folder
    }

    public var api: HubAPI { HubAPI(port: self.port) }

    /// Everything that the proxy has logged.
    public var log: String {
        let files = ["access.log", "error.log"].compactMap { FileManager.default.contents(atPath: "\(self.folder.path)/\($0)") }
        return files.map { String(decoding: $0, as: UTF8.self) }.joined() + self.process.output + self.process.errorOutput
    }

    /// Runs a proxy for the duration of the body.
    /// - Parameters:
    ///   - hubs: ports of the hubs.
    ///   - replacements: further texts of the file to replace, such as a time-out that is too long for a test.
    public static func running<Result>(
        _ kind: Kind, before hubs: [Int], replacing replacements: [(String, String)] = [],
        _ body: (ReverseProxy) async throws -> Result
    ) async throws -> Result {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let port = try FreePort.choose()
        let process = try Self.start(kind, port: port, hubs: hubs, replacements, folder: folder.path)
        let proxy = ReverseProxy(kind, port: port, process: process, folder: folder)
        do {
            try await eventually("\(kind) to listen", within: .seconds(20), every: .milliseconds(10)) {
                if let exit = process.exit {
                    throw ChildProcess.Failure(description: "\(kind) exited at startup (\(exit)): \(proxy.log)")
                }
                return FreePort.isInUse(port)
            }
            let result = try await body(proxy)
            await proxy.stop()
            return result
        } catch {
            await proxy.stop()
            throw error
        }
    }

    /// Ends the proxy, with its worker processes.
    private func stop() async {
        self.process.send(SIGTERM)
        do { _ = try await self.process.waitForExit(within: .seconds(2)) } catch {
            for child in Processes.children(of: self.process.id) { kill(child, SIGKILL) }
            await self.process.destroy()
        }
    }

    private static func start(_ kind: Kind, port: Int, hubs: [Int], _ replacements: [(String, String)], folder: String) throws
        -> ChildProcess
    {
        switch kind {
        case .nginx:
            let server = "        server 127.0.0.1:8080 max_fails=1 fail_timeout=2s;\n"
            let file = try Self.configuration(
                "nginx.conf",
                [
                    ("listen 80;", "listen 127.0.0.1:\(port);"), ("/var/log/nginx/flowhub.log", "\(folder)/access.log"),
                    (server, hubs.map { server.replacing("8080", with: "\($0)") }.joined()),
                ] + replacements, folder: folder)
            let global = "daemon off; pid \(folder)/pid; error_log \(folder)/error.log info;"
            return try ChildProcess(
                try Self.program("/usr/sbin/nginx", "nginx-light"), ["-c", file, "-g", global, "-e", "\(folder)/error.log"],
                environment: [:], folder: folder)
        case .haproxy:
            let lines = try Repository.text("deploy/proxy/haproxy.cfg").split(separator: "\n", omittingEmptySubsequences: false)
            let servers = lines.filter { $0.hasPrefix("    server hub1 127.0.0.1:8080 ") }.map(String.init)
            let expanded = Set(servers).map { line in
                let all = hubs.enumerated().map { index, hub in
                    line.replacing("hub1", with: "hub\(index + 1)").replacing("8080", with: "\(hub)")
                }
                return (line, all.joined(separator: "\n"))
            }
            let file = try Self.configuration(
                "haproxy.cfg",
                [
                    // HAProxy does not start if maxconn needs more open files than the limit of this process.
                    ("maxconn 40000", "maxconn 400"), ("bind :80", "bind 127.0.0.1:\(port)"),
                    ("/etc/haproxy/", Repository.path("deploy/proxy") + "/"),
                ] + expanded + replacements, folder: folder)
            return try ChildProcess(
                try Self.program("/usr/sbin/haproxy", "haproxy"), ["-db", "-f", file], environment: [:], folder: folder)
        case .caddy:
            let file = try Self.configuration(
                "Caddyfile", [(":80 {\n", ":\(port) {\n\tbind 127.0.0.1\n"), ("\n{\n", "\n{\n\tadmin off\n")] + replacements,
                folder: folder)
            return try ChildProcess(
                try TestTools.program("caddy"), ["run", "--adapter", "caddyfile", "--config", file],
                environment: [
                    "FLOWHUB_UPSTREAM": hubs.map { "127.0.0.1:\($0)" }.joined(separator: " "), "XDG_DATA_HOME": folder,
                    "XDG_CONFIG_HOME": folder,
                ], folder: folder)
        }
    }

    /// Writes a copy of a file of `deploy/proxy` with replaced texts.
    /// - Throws: ``ChildProcess/Failure`` if the file does not have one of the texts.
    private static func configuration(_ name: String, _ replacements: [(String, String)], folder: String) throws -> String {
        var text = try Repository.text("deploy/proxy/\(name)")
        for (old, new) in replacements {
            guard text.contains(old) else { throw ChildProcess.Failure(description: "\(name) does not have \(old)") }
            text.replace(old, with: new)
        }
        let path = "\(folder)/\(name)"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private static func program(_ path: String, _ package: String) throws -> String {
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw ChildProcess.Failure(description: "\(path) was not found. Install Debian's package \(package).")
        }
        return path
    }
}
