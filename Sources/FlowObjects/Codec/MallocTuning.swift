import CMalloc
import Foundation

/// Configures glibc's malloc for large blocks.
public enum MallocTuning {
    private static let megabyte: Int32 = 1_048_576

    /// Makes malloc map each block of 1 MiB or more separately, so that the memory of a freed block returns to the system at
    /// once. By default, glibc allocates such blocks from its heaps after the first one was freed, and smaller blocks
    /// between them keep the memory in the process: after one import of 1 GB, a hub would keep 40 MiB that it does not
    /// need. Called once, at start. The environment variable `MALLOC_MMAP_THRESHOLD_` takes precedence.
    public static func useMmapForLargeBlocks() {
        guard ProcessInfo.processInfo.environment["MALLOC_MMAP_THRESHOLD_"] == nil else { return }
        _ = mallopt(M_MMAP_THRESHOLD, Self.megabyte)
    }
}
