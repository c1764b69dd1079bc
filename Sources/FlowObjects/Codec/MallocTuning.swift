import CMalloc
import Foundation

/// How the process's memory is handed out where it goes by the megabyte.
public enum MallocTuning {
    private static let megabyte: Int32 = 1_048_576

    /// Lets every block of a megabyte and more come from the system and go back to it at once. By itself glibc takes such blocks
    /// from its heaps after the first was freed, and what lies between them never goes back: after one import of a gigabyte a hub
    /// would keep 40 MiB that it does not need. Called once, at the start. `MALLOC_MMAP_THRESHOLD_` in the environment wins.
    public static func useMmapForLargeBlocks() {
        guard ProcessInfo.processInfo.environment["MALLOC_MMAP_THRESHOLD_"] == nil else { return }
        _ = mallopt(M_MMAP_THRESHOLD, Self.megabyte)
    }
}
