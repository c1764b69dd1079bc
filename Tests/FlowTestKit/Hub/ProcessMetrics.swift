import Foundation

/// Resource use of a process, from /proc.
public struct ProcessMetrics: Sendable {
    public var residentBytes: Int
    /// Maximum of ``residentBytes`` so far.
    public var peakResidentBytes: Int
    /// User and system time, at 100 clock ticks per second.
    public var cpuSeconds: Double
    public var openFiles: Int

    /// - Returns: `nil` if there is no such process.
    public init?(of id: Int32) {
        guard let status = Self.text("/proc/\(id)/status"), let stat = Self.text("/proc/\(id)/stat"),
            let resident = Self.bytes("VmRSS:", in: status), let peak = Self.bytes("VmHWM:", in: status)
        else { return nil }
        self.residentBytes = resident
        self.peakResidentBytes = peak
        // proc(5): the name in parentheses may contain any character, so count after it; utime and stime are fields 14 and 15.
        let fields = stat.drop { $0 != ")" }.split(separator: " ")
        guard fields.count > 12, let user = Double(fields[12]), let system = Double(fields[13]) else { return nil }
        self.cpuSeconds = (user + system) / 100
        self.openFiles = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/fd").count) ?? 0
    }

    private static func bytes(_ name: String, in status: String) -> Int? {
        let line = status.split(separator: "\n").first { $0.hasPrefix(name) }
        return line.flatMap { Int($0.filter { $0.isNumber }) }.map { $0 * 1_024 }
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
