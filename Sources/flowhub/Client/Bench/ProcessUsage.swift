import Foundation

/// CPU time and memory of a process, from `/proc` (Linux).
struct ProcessUsage: Hashable, Sendable {
    /// User plus system time.
    var cpuSeconds: Double
    var residentKiB: Double

    /// Reads the current usage.
    /// - Parameter process: a process id, or `self` for this process.
    /// - Returns: `nil` if the process does not exist or this user may not inspect it.
    init?(of process: String) {
        guard let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        else { return nil }
        self.init(stat: stat, status: status, ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))))
    }

    /// Parses the files `stat` and `status`, see proc(5): `utime` and `stime` are fields 14 and 15 of `stat`. The code counts
    /// fields after the process name (field 2), which may contain blanks and parentheses.
    init?(stat: String, status: String, ticksPerSecond: Double) {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
        self.cpuSeconds = (user + system) / ticksPerSecond
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        guard let line,
            let kib = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Double($0) })
        else { return nil }
        self.residentKiB = kib
    }
}

/// The limit of open files of this process, sockets included.
enum FileLimit {
    /// Raises the soft limit to the hard one.
    /// - Returns: the resulting limit; 1,024 if it cannot be read.
    static func raise() -> UInt64 {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return UInt64(limit.rlim_cur)
    }
}
