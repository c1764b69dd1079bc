import FlowTestKit
import Foundation
import Testing

/// The files for containers. The tests have no container engine: they check what the files name, and run the health check. The image
/// itself is not built here.
@Suite struct ContainerFileTests {
    @Test func filesNameExistingPathsAndSettings() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        let settings = try ChildProcess(try HubBinary.path(), ["settings"], environment: [:], folder: folder.path)
        #expect(try await settings.waitForExit() == .code(0))
        let problems = try await TestTools.python(Self.comparison, [Repository.path(""), settings.output])
        #expect(problems.isEmpty, "\(problems)")
    }

    @Test func healthCheckOfImageTellsWhetherHubAnswers() async throws {
        let text = try Repository.text("deploy/container/Containerfile").replacing("\\\n", with: "")
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("HEALTHCHECK ") })
        let list = try #require(line.firstRange(of: "CMD ")).upperBound
        let command = try JSONDecoder().decode([String].self, from: Data(line[list...].utf8))
        try await HubProcess.running { hub in
            func check() async throws -> ChildProcess.Exit {
                let process = try ChildProcess(
                    command[0], Array(command.dropFirst()), environment: ["PORT": "\(hub.port)"], folder: hub.folder.path)
                return try await process.waitForExit()
            }
            #expect(try await check() == .code(0))
            try await hub.kill()
            #expect(try await check() != .code(0))
            try await hub.start()
            for file in ["railway", "railway-postgres"] {
                let json = try Repository.text("deploy/railway/\(file).json")
                let path = try #require(json.split(separator: "\"healthcheckPath\": \"").last?.split(separator: "\"").first)
                #expect(try await hub.call("GET", String(path)).status == 200, "\(file): \(path)")
            }
        }
    }

    /// Prints what does not exist or does not fit.
    private static let comparison = #"""
        import json, os, re, sys, yaml
        root = sys.argv[1]
        settings = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", sys.argv[2], re.M))
        def expect(condition, text):
            if not condition: print(text)
        def names(keys, where):
            for key in keys: expect(key in settings, f"{where}: unknown setting {key}")
        def read(path): return open(os.path.join(root, path)).read()
        drain = int(settings["FLOWHUB_DRAIN_SECONDS"])

        folder = "deploy/compose"
        compose = yaml.safe_load(read(f"{folder}/compose.yaml"))
        services = compose["services"]
        hubs = [name for name in services if "build" in services[name]]
        expect(len(hubs) == 2, "compose: two hubs")
        for name in hubs:
            hub = services[name]
            names(hub["environment"], "compose")
            context = os.path.join(root, folder, hub["build"]["context"])
            expect(os.path.isfile(os.path.join(context, hub["build"]["dockerfile"])), "compose: dockerfile")
            grace = int(hub["stop_grace_period"].rstrip("s"))
            expect(grace >= int(hub["environment"]["FLOWHUB_DRAIN_SECONDS"]) + 15, "compose: stop_grace_period")
        upstream = services["proxy"]["environment"]["FLOWHUB_UPSTREAM"].split()
        expect([address.split(":")[0] for address in upstream] == hubs, f"compose: {upstream}")
        expect("FLOWHUB_UPSTREAM" in read("deploy/proxy/Caddyfile"), "Caddyfile: FLOWHUB_UPSTREAM")
        for service in services.values():
            for dependency in service.get("depends_on", {}): expect(dependency in services, f"compose: {dependency}")
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                exists = os.path.exists(os.path.join(root, folder, source)) if source.startswith(".") else source in compose["volumes"]
                expect(exists, f"compose: {source}")

        text = read("deploy/container/Containerfile").replace("\\\n", "")
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        for line in lines:
            words = line.split()
            if words[0] == "COPY" and not words[1].startswith("--from"):
                for source in words[1:-1]:
                    source = source.replace("[d]", "d")
                    expect(source == "Package.resolved" or os.path.exists(os.path.join(root, source)), f"Containerfile: {source}")
            if words[0] == "ENV": names([word.split("=")[0] for word in words[1:]], "Containerfile")
        install = read(".ci/install")
        needed = re.search(r"^packages=\((.*)\)$", install, re.M)[1].split()
        build = next(line for line in lines if "apt-get" in line and "-dev" in line)
        expect(set(needed) == set(re.findall(r"\S+-dev", build)), "Containerfile: the packages differ from .ci/install")
        flags = re.search(r"build=\((swift build .*)\)", read(".ci/start"))[1].split()
        compiled = next(line for line in lines if "swift build" in line).split("&&")[0].split()[1:]
        expect(sorted(flags) == sorted(compiled), f"Containerfile: {compiled}, .ci/start: {flags}")

        for file in ("railway", "railway-postgres"):
            railway = json.loads(read(f"deploy/railway/{file}.json"))
            expect(os.path.isfile(os.path.join(root, railway["build"]["dockerfilePath"])), f"{file}: dockerfilePath")
            expect(railway["deploy"]["drainingSeconds"] >= drain + 15, f"{file}: drainingSeconds")
        mount = json.loads(read("deploy/railway/railway.json"))["deploy"]["requiredMountPath"]
        expect(f"FLOWHUB_DATA={mount}" in text and f"VOLUME {mount}" in text, "railway: requiredMountPath")

        unit = read("deploy/systemd/flowhub.service")
        keys = [key for key in re.findall(r"^Environment=(\w+)=", unit, re.M) if key != "LIBDISPATCH_LOG"]
        names(keys, "systemd")
        expect(int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) >= drain + 15, "systemd: TimeoutStopSec")
        setting = r"\b(?:FLOWHUB|R2|REDIS|UPSTASH_REDIS)_[A-Z0-9_]+\b|\bDATABASE_URL\b"
        stored = {"REDIS_PASSWORD", "FLOWHUB_UPSTREAM"}
        # What each deployment needs for Postgres, Redis and R2.
        needed = {"DATABASE_URL", "R2_ACCOUNT_ID", "R2_BUCKET_NAME"}
        for file in ("deploy/railway/README.md", "deploy/systemd/flowhub.service", "deploy/compose/compose.yaml"):
            found = set(re.findall(setting, read(file))) - stored
            names(found, file)
            expect(needed <= found and found & {"REDIS_URL", "UPSTASH_REDIS_URL"}, f"{file}: {needed - found}")
            expect(found & {"R2_SECRET_ACCESS_KEY", "FLOWHUB_R2_CREDENTIALS"}, f"{file}: no keys of R2")
        names(set(re.findall(setting, read("deploy/container/Containerfile"))), "Containerfile")
        redis = services["redis"]
        expect("--requirepass" in redis["command"] and "--appendonly no" in redis["command"], "compose: redis")
        expect("ports" not in redis and "ports" not in services["db"], "compose: only the proxy has a port")
        """#
}
