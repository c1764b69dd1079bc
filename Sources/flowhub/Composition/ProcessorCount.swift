import Foundation

/// The processors that this process may run on.
enum ProcessorCount {
    /// The number of processors that the affinity mask (`taskset`, or a container's `cpuset`) allows, at least 1. The C
    /// library's number of online processors would ignore the mask.
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

    /// Counts the processors of a list in the format of proc(5), such as `0-3,8`.
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
