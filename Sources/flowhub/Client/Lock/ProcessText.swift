import Foundation

/// An argument or a variable of a process, as it is: names of files need not be UTF-8.
struct ProcessText: Hashable, Sendable, CustomStringConvertible {
    /// Without a NUL.
    let bytes: [UInt8]

    init(_ text: String) { self.bytes = Array(text.utf8.filter { $0 != 0 }) }

    private init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    var description: String { String(decoding: self.bytes, as: UTF8.self) }

    /// For C; to be freed.
    func copy() -> UnsafeMutablePointer<CChar>? {
        (self.bytes + [0]).withUnsafeBytes { bytes in bytes.baseAddress.flatMap { strdup($0.assumingMemoryBound(to: CChar.self)) }
        }
    }

    /// The last arguments of this process.
    /// - Parameter texts: the same, as they were read.
    static func arguments(_ texts: [String]) -> [ProcessText] {
        let all = Self.list("/proc/self/cmdline")
        return all.count > texts.count ? Array(all.suffix(texts.count)) : texts.map { ProcessText($0) }
    }

    /// The variables that this process began with, and others in place of those of the same names.
    static func environment(adding others: [String: String]) -> [ProcessText] {
        var inherited = Self.list("/proc/self/environ")
        if inherited.isEmpty { inherited = ProcessInfo.processInfo.environment.map { ProcessText("\($0.key)=\($0.value)") } }
        inherited.removeAll { variable in
            others[String(decoding: variable.bytes.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)] != nil
        }
        return inherited + others.map { ProcessText("\($0.key)=\($0.value)") }
    }

    /// Each ends with a NUL.
    private static func list(_ file: String) -> [ProcessText] {
        let bytes = FileManager.default.contents(atPath: file) ?? Data()
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast().map { ProcessText(bytes: $0) }
    }
}
