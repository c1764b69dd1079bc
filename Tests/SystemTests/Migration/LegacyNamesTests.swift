import FlowCore
import FlowTestKit
import Foundation
import Testing

/// Settings under the names and in the forms that the legacy service and its providers have, and what the hub says of them.
@Suite(.serialized, .postgres()) struct LegacyNamesTests {
    /// A token that allows everything, and the key that signs it.
    private static let keys = ["FLOWHUB_JWT_KEY": TestToken.key]

    @Test(arguments: [
        ("postgresql+asyncpg", "ssl=disable&prepared_statement_cache_size=0"), ("postgres+psycopg2", "sslmode=disable"),
        ("postgresql+psycopg", "ssl=prefer&timeout=5&command_timeout=60"), ("POSTGRES", "pgbouncer=true&connection_limit=5"),
    ])
    func urlOfAnotherDriverIsUnderstood(_ scheme: String, _ parameters: String) async throws {
        let server = try SharedPostgres.server
        let url = server.url(try await server.createDatabase(), parameters: parameters)
        let (exit, output, errors) = try await SettingsTests.run(
            ["migrate"], ["DATABASE_URL": scheme + url.dropFirst("postgres".count)])
        #expect(exit == .code(0), "\(output)\(errors)")
    }

    /// `ssl=require` must not end in an unencrypted connection.
    @Test(arguments: ["ssl=require", "ssl=true", "ssl=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"])
    func requiredEncryptionIsRequired(_ parameters: String) async throws {
        let server = try SharedPostgres.server
        let url = server.url("postgres", parameters: parameters)
        let (exit, _, errors) = try await SettingsTests.run(["serve"], ["DATABASE_URL": "postgresql+asyncpg" + url.dropFirst(8)])
        #expect(exit == .code(1) && errors.contains("cannot be secured as configured"), "\(errors)")
    }

    @Test func halfOfUpstashPairIsAnError() async throws {
        for (key, value, other) in [
            ("UPSTASH_REDIS_URL", "https://x.upstash.io", "UPSTASH_REDIS_TOKEN"),
            ("UPSTASH_REDIS_TOKEN", "s3cret", "UPSTASH_REDIS_URL"),
            ("UPSTASH_REDIS_REST_URL", "https://x.upstash.io", "UPSTASH_REDIS_REST_TOKEN"),
            ("UPSTASH_REDIS_REST_TOKEN", "s3cret", "UPSTASH_REDIS_REST_URL"),
        ] {
            for more in [[:], ["REDIS_URL": "redis://127.0.0.1:1"]] {
                let (exit, _, errors) = try await SettingsTests.run(["serve"], more.merging([key: value]) { $1 })
                #expect(exit == .code(2) && errors.contains(key) && errors.contains(other), "\(errors)")
                #expect(!errors.contains("s3cret"))
            }
            let disabled = try await SettingsTests.run(["doctor"], [key: value, "REDIS_ENABLED": "false"])
            #expect(disabled.exit == .code(0), "\(disabled)")
        }
    }

    @Test func upstashNamesOfItsConsoleAreUsed() async throws {
        // Nobody listens there: the hub starts without Redis, and says where it looks for it.
        let environment = ["UPSTASH_REDIS_REST_URL": "https://127.0.0.1:1", "UPSTASH_REDIS_REST_TOKEN": "s3cret"]
        try await HubProcess.running(environment) { hub in
            #expect(hub.log.contains("redis 127.0.0.1:1/0 over TLS from UPSTASH_REDIS_REST_URL"), "\(hub.log)")
            #expect(!hub.log.contains("s3cret"))
        }
    }

    @Test func startLineNamesWhatTheHubUsesAndNoSecret() async throws {
        let server = try SharedPostgres.server
        let database = try await server.createDatabase()
        let url = server.url(database).replacing("flowhub@", with: "flowhub:s3cret-1@") + "?application_name=s3cret-2"
        let environment = [
            "DATABASE_URL": url, "FLOWHUB_PG_SCHEMA": "hub_own", "REDIS_URL": "redis://s3cret-3:s3cret-4@127.0.0.1:1/5",
            "R2_ENDPOINT": "http://127.0.0.1:9", "R2_BUCKET_NAME": "raw-data", "R2_ACCESS_KEY_ID": "s3cret-5",
            "R2_SECRET_ACCESS_KEY": "s3cret-6", "FLOWHUB_JWT_KEY": "s3cret-7-and-enough-bytes-for-a-key",
            "FLOWHUB_OPS_PORT": "\(try FreePort.choose())",
        ]
        try await HubProcess.running(environment) { hub in
            let line = try #require(hub.log.split(separator: "\n").first)
            let version = try await SettingsTests.run(["--version"]).output.trimmingCharacters(in: .whitespacesAndNewlines)
            for part in [
                " notice Starting ", #"store="postgres flowhub@127.0.0.1:\#(server.port)/\#(database), schema hub_own""#,
                #"bus="redis 127.0.0.1:1/5 from REDIS_URL""#, #"objects="r2 raw-data at http://127.0.0.1:9""#,
                "keys=FLOWHUB_JWT_KEY", #"address="127.0.0.1:\#(hub.port), operations 127.0.0.1:"#, "version=\(version)",
            ] {
                #expect(line.contains(part), "\(line)")
            }
            #expect(!hub.log.contains("s3cret"), "\(hub.log)")
        }
        try await HubProcess.running { hub in
            let line = try #require(hub.log.split(separator: "\n").first)
            for part in ["sqlite \(hub.dataFolder)", "bus=in-process", "folder \(hub.dataFolder)/objects", "keys=none"] {
                #expect(line.contains(part), "\(line)")
            }
        }
    }

    // MARK: FLOWHUB_HOST

    /// The status of a request by curl, which tells what it connected to.
    private static func status(_ address: String, _ port: Int, _ target: String, _ more: [String] = []) async throws -> String {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let process = try ChildProcess(
            "/usr/bin/curl",
            ["-g", "-s", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"] + more + [
                "http://\(address):\(port)\(target)"
            ],
            environment: [:], folder: folder.path)
        _ = try await process.waitForExit()
        return process.output
    }

    @Test func anyAddressListensOnBothFamilies() async throws {
        let environment = Self.keys.merging(["FLOWHUB_HOST": "::", "FLOWHUB_TRUSTED_PROXIES": "127.0.0.1, ::1"]) { $1 }
        try await HubProcess.running(environment) { hub in
            #expect(hub.log.contains("url=http://[::]:\(hub.port)/") || hub.log.contains("url=\"http://[::]:\(hub.port)/\""))
            #expect(try await Self.status("127.0.0.1", hub.port, "/health/live") == "200")
            #expect(try await Self.status("[::1]", hub.port, "/health/live") == "200")
            #expect(try await Self.status("127.0.0.1", hub.port, "/v1/flows") == "401")
            // The kernel reports IPv4 proxies as ::ffff:127.0.0.1: they are trusted as 127.0.0.1, and their client is named.
            let token = TestToken(scopes: ["read", "write", "admin"]).header
            #expect(try await hub.call("PUT", "/v1/flows/a/state", headers: [token], body: "{}").status == 201)
            let folder = try TemporaryFolder()
            defer { folder.remove() }
            for (address, client) in [("127.0.0.1", "203.0.113.9"), ("[::1]", "2001:db8::9")] {
                let stream = try ChildProcess(
                    "/usr/bin/curl",
                    [
                        "-g", "-s", "-N", "-H", "\(token.name): \(token.value)", "-H", "X-Forwarded-For: \(client)",
                        "http://\(address):\(hub.port)/v1/flows/a/events",
                    ], environment: [:], folder: folder.path)
                do {
                    try await eventually("the client of the proxy \(address)") {
                        let listed = try await hub.call("GET", "/v1/flows/a/connections", headers: [token]).json.member(
                            "connections")
                        return listed?.elements.contains { $0.member("remote")?.stringValue == client } == true
                    }
                } catch {
                    await stream.destroy()
                    throw error
                }
                await stream.destroy()
            }
        }
        // Without a key it is refused as 0.0.0.0 is.
        for host in ["::", "0.0.0.0", "::ffff:10.0.0.1", "::ffff:0.0.0.0"] {
            let (exit, _, errors) = try await SettingsTests.run(["serve"], ["FLOWHUB_HOST": host])
            #expect(exit == .code(2) && errors.contains("Refusing to listen on \(host)"), "\(errors)")
        }
    }

    @Test(arguments: [("::1", "[::1]"), ("::ffff:127.0.0.1", "127.0.0.1")])
    func loopbackAddressesOfBothFamiliesNeedNoKey(_ host: String, _ address: String) async throws {
        try await HubProcess.running(["FLOWHUB_HOST": host]) { (hub) async throws in
            #expect(try await Self.status(address, hub.port, "/v1/flows") == "200")
            for name in ["[::1]:1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]:80"] {
                #expect(try await Self.status(address, hub.port, "/v1/flows", ["-H", "Host: \(name)"]) == "200", "\(name)")
            }
            for name in ["[::ffff:10.0.0.1]", "[::]", "example.com"] {
                #expect(try await Self.status(address, hub.port, "/v1/flows", ["-H", "Host: \(name)"]) == "421", "\(name)")
            }
        }
    }

    /// A machine whose kernel has no IPv6: `::`, which the container image has, means all IPv4 addresses there.
    @Test func anyAddressWorksWithoutIPv6() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let port = try FreePort.choose()
        let environment = Self.keys.merging(["FLOWHUB_HOST": "::", "PORT": "\(port)", "FLOWHUB_DATA": folder.path + "/data"]) {
            $1
        }
        let hub = try ChildProcess(
            try TestTools.program("python"), ["-c", Self.withoutIPv6, try HubBinary.path(), "serve"], environment: environment,
            folder: folder.path)
        do {
            try await eventually("the hub to listen") {
                if let exit = hub.exit { throw ChildProcess.Failure(description: "the hub exited (\(exit)): \(hub.errorOutput)") }
                return hub.errorOutput.contains(" Listening ")
            }
            #expect(hub.errorOutput.contains("This machine has no IPv6; listening on 0.0.0.0"))
            #expect(try await Self.status("127.0.0.1", port, "/health/live") == "200")
        } catch {
            await hub.destroy()
            throw error
        }
        await hub.destroy()
    }

    /// Runs a program so that `socket(AF_INET6, …)` fails with `EAFNOSUPPORT`, by a seccomp filter.
    private static let withoutIPv6 = """
        import ctypes, errno, os, platform, socket, struct, sys
        number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
        load, equal, answer, allow, fail = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050000 | errno.EAFNOSUPPORT
        filter = b"".join(struct.pack("HBBI", *row) for row in [
            (load, 0, 0, 0), (equal, 0, 3, number),  # the number of the system call
            (load, 0, 0, 16), (equal, 0, 1, socket.AF_INET6),  # its first argument
            (answer, 0, 0, fail), (answer, 0, 0, allow)])
        class Filter(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("rows", ctypes.c_void_p)]
        rows = ctypes.create_string_buffer(filter)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        if libc.prctl(22, 2, ctypes.byref(Filter(len(filter) // 8, ctypes.cast(rows, ctypes.c_void_p)))) != 0:  # PR_SET_SECCOMP
            sys.exit(os.strerror(ctypes.get_errno()))
        os.execv(sys.argv[1], sys.argv[1:])
        """
}
