import Foundation

/// An argument or environment variable of a process as raw bytes, because file names need not be valid UTF-8.
struct ProcessText: Hashable, Sendable, CustomStringConvertible {
    /// Contains no NUL.
    let bytes: [UInt8]

    init(_ text: String) { self.bytes = Array(text.utf8.filter { $0 != 0 }) }

    private init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    var description: String { String(decoding: self.bytes, as: UTF8.self) }

    /// A copy as a C string. The caller must `free` it.
    func copy() -> UnsafeMutablePointer<CChar>? {
        (self.bytes + [0]).withUnsafeBytes { bytes in bytes.baseAddress.flatMap { strdup($0.assumingMemoryBound(to: CChar.self)) }
        }
    }

    /// The final arguments of this process, as many as `texts`, as raw bytes.
    /// - Parameter texts: the same arguments as decoded strings. They are used if the raw ones cannot be read.
    static func arguments(_ texts: [String]) -> [ProcessText] {
        let all = Self.list("/proc/self/cmdline")
        return all.count > texts.count ? Array(all.suffix(texts.count)) : texts.map { ProcessText($0) }
    }

    /// The environment that this process was started with, plus `additions`, which replace variables of the same name.
    static func environment(adding additions: [String: String]) -> [ProcessText] {
        var inherited = Self.list("/proc/self/environ")
        if inherited.isEmpty { inherited = ProcessInfo.processInfo.environment.map { ProcessText("\($0.key)=\($0.value)") } }
        inherited.removeAll { variable in
            additions[String(decoding: variable.bytes.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)] != nil
        }
        return inherited + additions.map { ProcessText("\($0.key)=\($0.value)") }
    }

    /// Reads a file of NUL-terminated strings; empty if it cannot be read.
    private static func list(_ file: String) -> [ProcessText] {
        let bytes = FileManager.default.contents(atPath: file) ?? Data()
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map { ProcessText(bytes: $0) }
    }
}
