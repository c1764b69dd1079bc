import FoundationEssentials

/// What Linux says of this process.
struct ProcessStatistics {
    var residentBytes = 0
    var cpuSeconds = 0.0
    var openFiles = 0

    /// Zeros where `/proc` cannot be read.
    static func current() -> ProcessStatistics {
        var statistics = ProcessStatistics()
        if let stat = Self.read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            // Fields 14 and 15 of proc(5), in clock ticks of a hundredth of a second; field 24, in pages.
            if fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]), let pages = Int(fields[21]) {
                statistics.cpuSeconds = (user + system) / 100
                statistics.residentBytes = pages * 4096
            }
        }
        statistics.openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
        return statistics
    }

    private static func read(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }
}
