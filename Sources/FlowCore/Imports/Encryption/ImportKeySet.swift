/// The import keys of a file: named AES-256 keys, of which at most one encrypts new imports. All of them decrypt.
///
/// Each line has a name, the key in Base64, and optionally `encrypts` or `decrypts`. The key that is marked `encrypts`
/// encrypts; if none is, the first one that is not marked `decrypts`. Empty lines and lines that start with `#` are ignored.
public struct ImportKeySet: Sendable {
    /// A key. Its descriptions have the name only.
    public struct Key: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
        public let name: String
        let secret: [UInt8]

        public var description: String { self.name }
        public var debugDescription: String { self.name }
        public var customMirror: Mirror { Mirror(self, children: ["name": self.name]) }
    }

    /// What is wrong with a file of import keys. The text has no part of a key.
    public struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// Maximum size of a file.
    public static let maximumBytes = 65_536
    static let keyBytes = 32
    private static let maximumNameBytes = 64

    /// The keys in the order of the file.
    public private(set) var keys: [Key] = []
    /// The key that encrypts new imports; `nil` if none does.
    public private(set) var encrypting: Key?

    /// No keys: nothing is encrypted, and encrypted imports cannot be read.
    public init() {}

    /// Reads the content of a file.
    /// - Throws: ``Invalid`` if a line is invalid, a name occurs twice, two keys are marked `encrypts`, or there is no key.
    public init(_ file: [UInt8]) throws(Invalid) {
        guard file.count <= Self.maximumBytes else { throw Invalid(description: "the file has more than 64 KiB") }
        var marked: Key?
        for (number, line) in file.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let words = line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
            guard let first = words.first, first.first != UInt8(ascii: "#") else { continue }
            func invalid(_ problem: String) -> Invalid { Invalid(description: "line \(number + 1): \(problem)") }
            guard words.count == 2 || words.count == 3 else {
                throw invalid("it must have a name, a key and optionally encrypts or decrypts, not \(words.count) words")
            }
            guard first.count <= Self.maximumNameBytes, first.allSatisfy({ Self.isOfName($0) }) else {
                throw invalid("the name must be 1 to \(Self.maximumNameBytes) of the characters A-Z a-z 0-9 . _ -")
            }
            guard let secret = Base64.decode(words[1]), secret.count == Self.keyBytes else {
                throw invalid("the key must be \(Self.keyBytes) bytes in Base64; `openssl rand -base64 32` makes one")
            }
            let key = Key(name: String(decoding: first, as: UTF8.self), secret: secret)
            guard !self.keys.contains(where: { $0.name == key.name }) else {
                throw invalid("another line has the name \(key.name) already")
            }
            self.keys.append(key)
            switch words.count == 3 ? String(decoding: words[2], as: UTF8.self) : nil {
            case nil: if self.encrypting == nil { self.encrypting = key }
            case "encrypts":
                guard marked == nil else { throw invalid("another key is marked encrypts already") }
                marked = key
            case "decrypts": break
            default: throw invalid("after the key there may be only the word encrypts or decrypts")
            }
        }
        guard !self.keys.isEmpty else { throw Invalid(description: "the file has no key") }
        self.encrypting = marked ?? self.encrypting
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
