import Foundation

#if canImport(Glibc)
import Glibc
#endif

/// Information about processes from /proc.
public enum Processes {
    public static func children(of parent: Int32) -> [Int32] {
        let all = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return all.filter { Self.stat($0)?.parent == parent }
    }

    /// Whether the process exists and is not a zombie.
    public static func isAlive(_ id: Int32) -> Bool { Self.stat(id).map { $0.state != "Z" } ?? false }

    /// Whether this process ignores a signal. Its children inherit that.
    public static func isIgnored(_ signal: Int32) -> Bool {
        let data = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
        let line = String(decoding: data, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("SigIgn:") }
        let mask = line.flatMap { UInt64($0.split(separator: "\t").last ?? "", radix: 16) } ?? 0
        return mask >> UInt64(signal - 1) & 1 == 1
    }

    /// Parses /proc/{id}/stat, see proc(5). The name in parentheses may contain any character, so fields are counted after it.
    private static func stat(_ id: Int32) -> (state: Substring, parent: Int32)? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(id)/stat") else { return nil }
        let fields = String(decoding: data, as: UTF8.self).drop { $0 != ")" }.dropFirst(2).split(separator: " ")
        guard fields.count > 1, let parent = Int32(fields[1]) else { return nil }
        return (fields[0], parent)
    }

    /// Runs a program and blocks until it ends.
    /// - Returns: its exit code; -1 if it could not be started or was killed.
    public static func runToEnd(_ binary: String, _ arguments: [String]) -> Int32 {
        var list = ([binary] + arguments).map { strdup($0) } + [nil]
        defer { for text in list { free(text) } }
        var id = pid_t()
        guard posix_spawn(&id, binary, nil, nil, &list, nil) == 0 else { return -1 }
        var status: Int32 = 0
        guard waitpid(id, &status, 0) == id, status & 0x7f == 0 else { return -1 }
        return (status >> 8) & 0xff
    }
}
