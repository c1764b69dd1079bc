import FoundationEssentials

/// Memory, CPU time and open files of this process, from `/proc`.
struct ProcessStatistics {
    var residentBytes = 0
    var cpuSeconds = 0.0
    var openFiles = 0
    /// The soft limit of open files.
    var maximumFiles = 0
    /// The Unix time at which the process started.
    var startSeconds = 0.0

    /// Reads the current values. Values that cannot be read are 0.
    static func current() -> ProcessStatistics {
        var statistics = ProcessStatistics()
        if let stat = Self.read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            // proc(5): fields 14 and 15 are in clock ticks of 0.01 s, field 24 is in pages of 4,096 bytes. `fields` starts at
            // field 3.
            // Field 22 is the start in ticks after the machine's.
            if fields.count > 21, let ticks = Double(fields[19]), let machine = Self.number(after: "btime", in: "/proc/stat") {
                statistics.startSeconds = Double(machine) + ticks / 100
            }
            if fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]), let pages = Int(fields[21]) {
                statistics.cpuSeconds = (user + system) / 100
                statistics.residentBytes = pages * 4096
            }
        }
        statistics.maximumFiles = Self.number(after: "Max open files", in: "/proc/self/limits") ?? 0
        statistics.openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return statistics
    }

    /// The number after a name at the start of a line of a file; `nil` if there is none.
    private static func number(after name: String, in path: String) -> Int? {
        let line = Self.read(path)?.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.dropFirst(name.count).split(separator: " ").first.flatMap { Int($0) }
    }

    /// The text of a file; `nil` if it cannot be read.
    private static func read(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }
}
