import FoundationEssentials

/// Memory, CPU time and open files of this process, from `/proc`.
struct ProcessStatistics {
    var residentBytes = 0
    var cpuSeconds = 0.0
    var openFiles = 0

    /// Reads the current values. Values that cannot be read are 0.
    static func current() -> ProcessStatistics {
        var statistics = ProcessStatistics()
        if let stat = Self.read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            // proc(5): fields 14 and 15 are in clock ticks of 0.01 s, field 24 is in pages of 4,096 bytes. `fields` starts at
            // field 3.
            if fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]), let pages = Int(fields[21]) {
                statistics.cpuSeconds = (user + system) / 100
                statistics.residentBytes = pages * 4096
            }
        }
        statistics.openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return statistics
    }

    /// The text of a file; `nil` if it cannot be read.
    private static func read(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }
}
