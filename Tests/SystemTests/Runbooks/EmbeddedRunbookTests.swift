import FlowCore
import FlowTestKit
import Foundation
import Glibc
import Testing

/// Backup and restore of the embedded store.
struct EmbeddedRunbookTests {
    private static func environment(_ hub: HubProcess, _ backup: String) -> [String: String] {
        ["FLOWHUB_DATA": hub.dataFolder, "BACKUP": backup]
    }

    /// The files below a folder, with their sizes.
    private static func files(_ folder: String) -> [String] {
        (FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []).filter {
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: "\(folder)/\($0)", isDirectory: &isFolder) && !isFolder.boolValue
        }
    }

    @Test func restoreBringsBackWhatBackupHasUnderRaisedEpoch() async throws {
        try await HubProcess.running { hub in
            try await HubContents.fill(hub)
            let before = try await HubContents.read(hub)
            let backup = hub.folder.path + "/backup"
            #expect(try await Runbook.embeddedBackup.succeed(Self.environment(hub, backup)).contains("2 flows, 5 imports"))
            let again = try await Runbook.embeddedBackup.run(Self.environment(hub, backup))
            #expect(again.exit == .code(1) && again.errors.contains("exists already"), "\(again)")
            // Lost by the restore.
            _ = try await hub.api.patch("job", try jsonText(#"{"n":3}"#))
            _ = try await hub.store(TestUpload("[1]"))

            let tooEarly = try await hub.command(["restore", backup])
            #expect(tooEarly.exit == .code(1) && tooEarly.errors.contains("in use by another hub"), "\(tooEarly)")
            #expect(try await hub.terminate() == .code(0))
            let occupied = try await hub.command(["restore", backup])
            #expect(occupied.exit == .code(1) && occupied.errors.contains("is not empty (flowhub.sqlite"), "\(occupied)")

            let output = try await Runbook.embeddedRestore.succeed(Self.environment(hub, backup))
            #expect(output.contains("4 imports read, 0 of them damaged"), "\(output)")
            try await hub.start()
            let after = try await HubContents.read(hub)
            #expect(after == before)
            #expect(after.tags["job"] != before.tags["job"], "the epoch was not raised")
            let stale = try await hub.api.with(header: "If-Match", try #require(before.tags["job"])).patch("job", .emptyObject)
            #expect(stale.status == 412)
            try await before.expectReplay(hub)
        }
    }

    /// A backup is made anew if objects that its database refers to are deleted before they are copied.
    @Test func backupHasEveryObjectOfItsDatabaseAlthoughImportsAreDeleted() async throws {
        try await HubProcess.running { hub in
            var ids: [String] = []
            for number in 0..<12 {
                var random = SeededRandom(seed: UInt64(number))
                let record = "\"" + (0..<100_000).map { _ in String(random.next(), radix: 16) }.joined() + "\""
                ids.append(try await hub.store(TestUpload("[\(record.prefix(900_000))\",\(number)]")).id)
            }
            let (backup, partial) = (hub.folder.path + "/backup", hub.folder.path + "/.backup.partial")
            /// Starts a backup and stops it when it has begun to copy objects.
            func startAndPause() async throws -> ChildProcess {
                let process = try hub.startCommand(["backup", backup])
                try await eventually("the first object to be copied", every: .milliseconds(1)) {
                    #expect(process.exit == nil, "\(process.errorOutput)")
                    return FileManager.default.fileExists(atPath: partial + "/objects/stored")
                }
                process.send(SIGSTOP)
                #expect(Self.files(partial).count < ids.count, "the backup was too fast")
                return process
            }
            // Interrupted: nothing has the backup's name, and the next one starts anew.
            let killed = try await startAndPause()
            await killed.destroy()
            #expect(!FileManager.default.fileExists(atPath: backup))

            let process = try await startAndPause()
            for id in ids.dropLast() { #expect(try await hub.api.call("DELETE", "/v1/imports/\(id)").status == 204) }
            let added = try await hub.store(TestUpload("[1,2]"))
            process.send(SIGCONT)
            #expect(try await process.waitForExit() == .code(0), "\(process.errorOutput)")
            #expect(process.errorOutput.contains("2 imports and 2 objects"), "\(process.errorOutput)")
            #expect(!FileManager.default.fileExists(atPath: partial))
            #expect(try await hub.terminate() == .code(0))
            _ = try await Runbook.embeddedRestore.succeed(Self.environment(hub, backup))
            try await hub.start()
            #expect(try await hub.get(added.id, "/data").status == 200)
            #expect(try await hub.get(ids[11], "/data").status == 200)
        }
    }

    @Test func damagedBackupAndInterruptedRestoreLeaveNothingUsable() async throws {
        try await HubProcess.running { hub in
            _ = try await hub.store(TestUpload("[1,2,3]"))
            let backup = hub.folder.path + "/backup"
            _ = try await Runbook.embeddedBackup.succeed(Self.environment(hub, backup))
            #expect(try await hub.terminate() == .code(0))
            let target = hub.folder.path + "/restored"
            let object = try #require(Self.files(backup).first { $0.hasSuffix(".gz") })
            let good = try #require(FileManager.default.contents(atPath: "\(backup)/\(object)"))
            try Data(good.dropLast() + [(good.last ?? 0) ^ 0xff]).write(to: URL(fileURLWithPath: "\(backup)/\(object)"))
            let damaged = try await hub.command(["restore", backup, "--data", target])
            #expect(damaged.exit == .code(1) && damaged.errors.contains("The file \(object) of the backup"), "\(damaged)")
            #expect(!FileManager.default.fileExists(atPath: target))
            try good.write(to: URL(fileURLWithPath: "\(backup)/\(object)"))
            // What a restore leaves that is killed while it moves the files to their places.
            try FileManager.default.createDirectory(atPath: target + "/.restore", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(atPath: target + "/objects", withIntermediateDirectories: true)
            let refused = try await hub.command(["serve", "--data", target, "--port", "0"])
            #expect(refused.exit == .code(1) && refused.errors.contains("was interrupted. Run `flowhub restore`"), "\(refused)")
            #expect(try await hub.command(["restore", backup, "--data", target]).exit == .code(0))
            let verified = try await hub.command(["imports", "verify", "--data", target])
            #expect(verified.errors.contains("1 imports read, 0 of them damaged"), "\(verified)")
            let none = try await hub.command(["restore", hub.folder.path, "--data", target + "2"])
            #expect(none.exit == .code(1) && none.errors.contains("is not a complete backup"), "\(none)")
        }
    }

    // MARK: Access rights

    private static func mode(_ path: String) throws -> mode_t {
        var status = stat()
        try #require(lstat(path, &status) == 0, "\(path)")
        return status.st_mode & 0o7777
    }

    @Test func filesAreForHubsUserOnlyAndExistingModesAreTightened() async throws {
        try await HubProcess.running { hub in
            func expectRestricted(_ folder: String) throws {
                #expect(try Self.mode(folder) == 0o700)
                let all = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
                #expect(all.contains { $0.hasSuffix(".gz") } && all.contains("flowhub.sqlite"), "\(all)")
                for name in all { #expect(try Self.mode("\(folder)/\(name)") & 0o077 == 0, "\(name)") }
            }
            _ = try await hub.store(TestUpload("[1]"))
            _ = try await hub.api.put("f", .emptyObject)
            #expect(Self.files(hub.dataFolder).contains("flowhub.sqlite-wal"))
            try expectRestricted(hub.dataFolder)
            let backup = hub.folder.path + "/backup"
            _ = try await Runbook.embeddedBackup.succeed(Self.environment(hub, backup))
            try expectRestricted(backup)
            // As earlier releases left them.
            try await hub.kill()
            for name in ["", "/flowhub.sqlite", "/flowhub.sqlite-wal", "/hub.lock", "/objects", "/objects/stored"] {
                #expect(chmod(hub.dataFolder + name, name.contains(".") ? 0o644 : 0o755) == 0, "\(name)")
            }
            try await hub.start()
            try expectRestricted(hub.dataFolder)
            #expect(hub.log.components(separatedBy: "Removed other users' access").count == 2, "\(hub.log)")
            try await hub.kill()
            try await hub.start()
            #expect(!hub.log.contains("Removed other users' access"))
        }
    }

    @Test func unusableFileIsNamedWithOwnerAndRemedy() async throws {
        try await HubProcess.running { hub in
            _ = try await hub.api.put("f", .emptyObject)
            #expect(try await hub.terminate() == .code(0))
            let file = hub.dataFolder + "/flowhub.sqlite"
            let binary = try HubBinary.path()
            // A superuser may use every file, unless it gives up that capability.
            let deny = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search", binary]
            func start() async throws -> String {
                let environment = ["FLOWHUB_DATA": hub.dataFolder, "PORT": "0", "SWIFT_BACKTRACE": "enable=no"]
                let process =
                    geteuid() == 0
                    ? try ChildProcess(
                        "/usr/bin/setpriv", deny + ["serve"], environment: environment, folder: hub.folder.path)
                    : try ChildProcess(binary, ["serve"], environment: environment, folder: hub.folder.path)
                let exit = try await process.waitForExit()
                #expect(exit == .code(1))
                return process.errorOutput
            }
            #expect(chmod(file, 0o400) == 0)
            let mode = try await start()
            #expect(mode.contains("\(file): its mode 0400 denies it. Run: chmod u+rw \(file)"), "\(mode)")
            #expect(chmod(file, 0o600) == 0)
            guard geteuid() == 0 else { return }
            #expect(chown(file, 65_534, 65_534) == 0)
            let owner = try await start()
            #expect(owner.contains("\(file): it belongs to the user nobody (uid 65534), mode 0600"), "\(owner)")
            #expect(owner.contains("this process runs as root (uid 0). Run: chown -R root: \(hub.dataFolder)"), "\(owner)")
        }
    }
}
