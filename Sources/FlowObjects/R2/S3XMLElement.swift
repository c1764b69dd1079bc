/// One element of an S3 answer, with its children. Attributes and the prefixes of names are left out: S3 uses them for nothing.
struct S3XMLElement: Hashable, Sendable {
    var name: String
    /// Only of an element without children.
    var text = ""
    var children: [S3XMLElement] = []

    /// The first child of that name.
    subscript(_ name: String) -> S3XMLElement? { self.children.first { $0.name == name } }

    func all(_ name: String) -> [S3XMLElement] { self.children.filter { $0.name == name } }

    func text(_ name: String) -> String? { self[name]?.text }
}

/// Writes what S3 reads.
enum XMLText {
    static func element(_ name: String, _ text: String) -> String { "<\(name)>\(Self.escape(text))</\(name)>" }

    static func element(_ name: String, containing children: [String]) -> String { "<\(name)>\(children.joined())</\(name)>" }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
