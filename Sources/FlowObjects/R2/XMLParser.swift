/// Parser of S3 responses in XML: elements, text, character references, CDATA, comments. Strict and safe for untrusted
/// input: no document type, only the five predefined entities, bounded depth.
struct XMLParser {
    /// The document is not well-formed, or has something that the parser does not support.
    struct Malformed: Error {}

    /// Maximum number of nested elements, the root included.
    private static let maximumDepth = 16

    /// Bytes of the document that were not parsed yet.
    private var rest: ArraySlice<UInt8>
    /// Elements that are not closed yet, from the root inwards.
    private var open: [S3XMLElement] = []
    /// Text of the innermost open element so far.
    private var text: [UInt8] = []

    /// Parses a document.
    /// - Returns: the root element; `nil` if the document is malformed.
    static func parse(_ bytes: [UInt8]) -> S3XMLElement? {
        var parser = XMLParser(rest: bytes[...])
        return try? parser.document()
    }

    private init(rest: ArraySlice<UInt8>) { self.rest = rest }

    /// Reads the whole document and returns its root element.
    private mutating func document() throws(Malformed) -> S3XMLElement {
        self.skip("\u{feff}")
        while true {
            if self.open.isEmpty { self.skipSpace() }
            if self.skip("<?") {
                _ = try self.upTo("?>")
            } else if self.skip("<!--") {
                _ = try self.upTo("-->")
            } else if !self.open.isEmpty, self.skip("<![CDATA[") {
                self.text += try self.upTo("]]>")
            } else if self.skip("</") {
                if let root = try self.close() {
                    try self.expectNothing()
                    return root
                }
            } else if self.rest.first == UInt8(ascii: "<") {
                self.rest = self.rest.dropFirst()
                if let root = try self.openElement() {
                    try self.expectNothing()
                    return root
                }
            } else {
                try self.characters()
            }
        }
    }

    // MARK: Elements

    /// Reads a start tag after its `<`, and adds the element to `open`. Closes the element if the tag ends with `/>`.
    /// - Returns: the element if it was closed and is the root; otherwise `nil`.
    private mutating func openElement() throws(Malformed) -> S3XMLElement? {
        let name = try self.name()
        guard self.open.count < Self.maximumDepth else { throw Malformed() }
        try self.attributes()
        let isEmpty = self.skip("/")
        guard self.skip(">") else { throw Malformed() }
        self.open.append(S3XMLElement(name: name))
        self.text = []
        return isEmpty ? try self.closeInnermost() : nil
    }

    /// Reads an end tag after its `</`, and closes the innermost element, which must have the same name.
    /// - Returns: the closed element if it is the root; otherwise `nil`.
    private mutating func close() throws(Malformed) -> S3XMLElement? {
        let name = try self.name()
        self.skipSpace()
        guard self.skip(">"), self.open.last?.name == name else { throw Malformed() }
        return try self.closeInnermost()
    }

    /// Closes the innermost open element: removes it from `open`, and adds it to its parent's children.
    /// - Returns: the element if it is the root and so has no parent; otherwise `nil`.
    private mutating func closeInnermost() throws(Malformed) -> S3XMLElement? {
        guard var element = self.open.popLast() else { throw Malformed() }
        if element.children.isEmpty {
            guard let text = String(validating: self.text, as: UTF8.self) else { throw Malformed() }
            element.text = text
        }
        self.text = []
        guard !self.open.isEmpty else { return element }
        self.open[self.open.count - 1].children.append(element)
        return nil
    }

    /// Reads the name of an element or attribute, and returns it without its namespace prefix.
    private mutating func name() throws(Malformed) -> String {
        let bytes = self.rest.prefix { !Self.isSpace($0) && !"<>/=\"'&!?".utf8.contains($0) }
        guard !bytes.isEmpty, let name = String(validating: bytes, as: UTF8.self) else { throw Malformed() }
        self.rest = self.rest.dropFirst(bytes.count)
        guard let local = name.split(separator: ":", omittingEmptySubsequences: false).last, !local.isEmpty else {
            throw Malformed()
        }
        return String(local)
    }

    /// Reads the attributes of a start tag, and drops them.
    private mutating func attributes() throws(Malformed) {
        while true {
            let hadSpace = self.rest.first.map(Self.isSpace) ?? false
            self.skipSpace()
            guard let byte = self.rest.first else { throw Malformed() }
            if byte == UInt8(ascii: "/") || byte == UInt8(ascii: ">") { return }
            guard hadSpace else { throw Malformed() }
            _ = try self.name()
            self.skipSpace()
            guard self.skip("=") else { throw Malformed() }
            self.skipSpace()
            if self.skip("\"") {
                _ = try self.upTo("\"")
            } else if self.skip("'") {
                _ = try self.upTo("'")
            } else {
                throw Malformed()
            }
        }
    }

    // MARK: Text

    /// Reads text up to the next `<`, or up to and including one entity or character reference, into `text`.
    private mutating func characters() throws(Malformed) {
        guard !self.open.isEmpty, !self.rest.isEmpty else { throw Malformed() }
        let plain = self.rest.prefix { $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: "&") }
        self.text += plain
        self.rest = self.rest.dropFirst(plain.count)
        guard self.skip("&") else { return }
        // The longest valid reference is `&#x10FFFF;`.
        let reference = try self.upTo(";", within: 10)
        let name = String(decoding: reference, as: UTF8.self)
        switch name {
        case "lt": self.text.append(UInt8(ascii: "<"))
        case "gt": self.text.append(UInt8(ascii: ">"))
        case "amp": self.text.append(UInt8(ascii: "&"))
        case "quot": self.text.append(UInt8(ascii: "\""))
        case "apos": self.text.append(UInt8(ascii: "'"))
        default:
            let number =
                name.hasPrefix("#x") ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
            guard let number, number != 0, let scalar = Unicode.Scalar(number) else { throw Malformed() }
            self.text += Array(String(Character(scalar)).utf8)
        }
    }

    // MARK: Bytes

    /// Accepts only white space and comments after the root element.
    private mutating func expectNothing() throws(Malformed) {
        while true {
            self.skipSpace()
            if self.rest.isEmpty { return }
            guard self.skip("<!--") else { throw Malformed() }
            _ = try self.upTo("-->")
        }
    }

    /// Skips a text if it comes next.
    /// - Returns: whether the text came next.
    @discardableResult
    private mutating func skip(_ text: String) -> Bool {
        guard self.rest.starts(with: text.utf8) else { return false }
        self.rest = self.rest.dropFirst(text.utf8.count)
        return true
    }

    /// Skips white space.
    private mutating func skipSpace() { self.rest = self.rest.drop(while: Self.isSpace) }

    /// Reads up to a terminator and skips the terminator.
    /// - Parameter limit: maximum number of bytes before the terminator.
    /// - Returns: the bytes before the terminator.
    private mutating func upTo(_ end: String, within limit: Int = .max) throws(Malformed) -> ArraySlice<UInt8> {
        let terminator = Array(end.utf8)
        var index = self.rest.startIndex
        while index + terminator.count <= self.rest.endIndex, index - self.rest.startIndex <= limit {
            if self.rest[index..<index + terminator.count].elementsEqual(terminator) {
                defer { self.rest = self.rest[(index + terminator.count)...] }
                return self.rest[..<index]
            }
            index += 1
        }
        throw Malformed()
    }

    /// Whether a byte is white space in XML.
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }
}
