import Foundation

/// The processors that this process may run on.
enum ProcessorCount {
    /// How many there are, a `taskset` or a container's `cpuset` taken into account, which the C library's own count of the
    /// processors on line does not. At least 1.
    static func allowed() -> Int {
        guard let data = FileManager.default.contents(atPath: "/proc/self/status") else {
            return max(1, ProcessInfo.processInfo.activeProcessorCount)
        }
        let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("Cpus_allowed_list:") }) else {
            return max(1, ProcessInfo.processInfo.activeProcessorCount)
        }
        return max(1, Self.count(line.drop { $0 != ":" }.dropFirst()))
    }

    /// Counts a list as proc(5) writes it: `0-3,8`.
    static func count(_ list: some StringProtocol) -> Int {
        list.split(separator: ",").reduce(0) { sum, range in
            let bounds = range.split(separator: "-").compactMap {
                Int(String($0.filter { character in character.isASCII && character.isNumber }))
            }
            guard let first = bounds.first, let last = bounds.last, last >= first else { return sum }
            return sum + last - first + 1
        }
    }
}
