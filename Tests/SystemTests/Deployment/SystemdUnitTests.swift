import FlowTestKit
import Foundation
import Testing

/// The systemd unit of `deploy/systemd`.
@Suite struct SystemdUnitTests {
    private static let unit = Repository.path("deploy/systemd/flowhub.service")

    @Test func unitIsValidAndRestricted() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        // The program must exist.
        let copy = folder.path + "/flowhub.service"
        let text = try Repository.text("deploy/systemd/flowhub.service")
            .replacing("/usr/local/bin/flowhub", with: try HubBinary.path())
        try text.write(toFile: copy, atomically: true, encoding: .utf8)
        let verified = try await Self.run("/usr/bin/systemd-analyze", ["verify", "--man=no", copy], folder)
        #expect(verified.exit == .code(0) && verified.errors.isEmpty, "\(verified.errors)")
        // Exposure from 0 (none) to 10, in tenths.
        let rated = try await Self.run(
            "/usr/bin/systemd-analyze", ["security", "--offline=yes", "--threshold=15", copy], folder)
        #expect(rated.exit == .code(0), "\(rated.output.suffix(200))")
    }

    /// Boots systemd in a container on an overlay of this machine's files, with the unit, the hub and a file of keys that only root
    /// may read.
    @Test func hubRunsUnderSystemd() async throws {
        let folder = try TemporaryFolder()
        defer { folder.remove() }
        try Self.commandsInContainer.write(toFile: folder.path + "/check.sh", atomically: true, encoding: .utf8)
        try Self.container.write(toFile: folder.path + "/container.sh", atomically: true, encoding: .utf8)
        let run = try await Self.run(
            "/usr/bin/unshare", ["-m", "/bin/bash", folder.path + "/container.sh"], folder,
            [
                "WORK": folder.path, "HUB": try HubBinary.path(), "UNIT": Self.unit,
                "WATCH_SECONDS": TestScale.pick("0", full: "17"),
            ])
        let result = (try? String(contentsOfFile: folder.path + "/result", encoding: .utf8)) ?? ""
        var values: [String: String] = [:]
        for line in result.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        let comment: Comment = "\(run.output.suffix(1_000)) \(run.errors.suffix(1_000)) \(result)"
        #expect(values["started"] == "yes", comment)
        #expect(values["user"] != nil && values["user"] != "0" && values["seccomp"] == "2", comment)
        #expect(values["capabilities"] == "0000000000000000", comment)
        // The keys were read: a request needs a token.
        #expect(values["flows"] == "401", comment)
        #expect(values["low_priority_threads"].flatMap { Int($0) } ?? 0 > 0, comment)
        #expect(values["after_reload"] == "yes" && values["after_hangup"] == "yes" && values["after_kill"] == "yes", comment)
        #expect(values["ActiveState"] == "inactive" && values["Result"] == "success" && values["ExecMainStatus"] == "0", comment)
        #expect(!result.contains("LIBDISPATCH") && !result.contains("loadavg"), comment)
    }

    // MARK: Private

    private static func run(
        _ program: String, _ arguments: [String], _ folder: TemporaryFolder, _ environment: [String: String] = [:]
    ) async throws -> (exit: ChildProcess.Exit, output: String, errors: String) {
        let process = try ChildProcess(program, arguments, environment: environment, folder: folder.path)
        do {
            let exit = try await process.waitForExit(within: .seconds(100))
            return (exit, process.output, process.errorOutput)
        } catch {
            await process.destroy()
            throw error
        }
    }

    /// Runs on this machine, in a mount namespace of its own: nothing of it remains.
    private static let container = #"""
        set -e
        mount --make-rprivate /
        mkdir "$WORK/memory" "$WORK/root"
        mount -t tmpfs none "$WORK/memory"
        mkdir "$WORK/memory/upper" "$WORK/memory/work"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/memory/upper,workdir=$WORK/memory/work" "$WORK/root"
        cd "$WORK/root"
        : > etc/machine-id
        rm -f etc/systemd/system/multi-user.target.wants/* etc/systemd/system/flowhub.service
        cp -L "$HUB" usr/local/bin/flowhub
        cp "$UNIT" etc/systemd/system/flowhub.service
        mkdir -p etc/flowhub etc/systemd/system/flowhub.service.d
        key='{"kty":"oct","kid":"a","alg":"HS256","k":"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"}'
        (umask 077 && echo "{\"keys\":[$key]}" > etc/flowhub/jwks.json)
        cat > etc/systemd/system/flowhub.service.d/keys.conf <<'UNIT'
        [Service]
        LoadCredential=jwks.json:/etc/flowhub/jwks.json
        Environment=FLOWHUB_JWKS=%d/jwks.json
        UNIT
        cp "$WORK/check.sh" usr/local/bin/check.sh
        cat > etc/systemd/system/check.service <<UNIT
        [Unit]
        After=basic.target
        SuccessAction=exit-force
        FailureAction=exit-force
        [Service]
        Type=oneshot
        Environment=WATCH_SECONDS=$WATCH_SECONDS
        ExecStart=/bin/bash /usr/local/bin/check.sh
        UNIT
        cat > etc/systemd/system/check.target <<'UNIT'
        [Unit]
        Requires=basic.target check.service
        UNIT
        timeout -k 5 80 systemd-nspawn -D "$WORK/root" --quiet --register=no --keep-unit --machine=flowhub-test --private-network \
            --boot systemd.unit=check.target < /dev/null || true
        cp result "$WORK/result"
        """#

    /// Runs in the container. Its output is the result.
    private static let commandsInContainer = #"""
        exec > /result 2>&1
        ready() {
            for _ in $(seq 100); do
                curl -sf -o /dev/null http://127.0.0.1:8080/health/ready && { echo "$1=yes"; return; }
                sleep 0.05
            done
            echo "$1=no"
        }
        pid() { systemctl show -p MainPID --value flowhub; }
        systemctl start flowhub
        ready started
        process=/proc/$(pid)
        echo "user=$(awk '/^Uid:/ {print $2}' $process/status)"
        echo "seccomp=$(awk '/^Seccomp:/ {print $2}' $process/status)"
        echo "capabilities=$(awk '/^CapEff:/ {print $2}' $process/status)"
        echo "flows=$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/v1/flows)"
        echo "low_priority_threads=$(awk '$19 == 5' $process/task/*/stat | wc -l)"
        sleep "$WATCH_SECONDS"
        systemctl reload flowhub
        ready after_reload
        before=$(pid)
        kill -HUP "$before"
        sleep 0.2
        ready after_hangup
        before=$(pid)
        kill -KILL "$before"
        while [ "$(pid)" = "$before" ]; do sleep 0.05; done
        ready after_kill
        systemctl stop flowhub
        systemctl show -p ActiveState,Result,ExecMainStatus flowhub
        journalctl -u flowhub --no-pager -o cat | sed 's/^/journal: /'
        """#
}
